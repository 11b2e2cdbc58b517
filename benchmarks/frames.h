/* The bytes of an answer in OpenAI chat completions: chunks of an event stream, or one JSON document.
 *
 * Frames are prepared once; per word nothing is formatted but the word itself. A frame has the size that a large upstream's
 * have, since a gateway is paid by the byte too.
 */
#ifndef FRAMES_H
#define FRAMES_H
#include <stdio.h>
#include <string.h>

#include "plan.h"
#include "words.h"

static char token_frame[1024], opening[2048];
static size_t token_bytes, token_word_at, opening_bytes;
static char scratch[MOST_TOKENS * WORD_BYTES + (1 << 16)];

#define IDENTITY "\"id\":\"chatcmpl-CkVu2yTn8RpQx5LwZb7HsE3mJd9Ga\",\"object\":\"chat.completion"
#define ORIGIN "\",\"created\":1795132800,\"model\":\"sim-2026-11-20\",\"system_fingerprint\":\"fp_b8f2c6e19a\""

static size_t write_frame(char *to, const char *payload)
{
    return (size_t)sprintf(to, "%zx\r\ndata: %s\n\n\r\n", strlen(payload) + 8, payload);
}

static void prepare_frames(void)
{
    char payload[900], word[WORD_BYTES + 1] = {0};
    word_write(word, 0, 0);
    sprintf(payload, "{" IDENTITY ".chunk" ORIGIN ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                     "\"finish_reason\":null}],\"usage\":null}", word);
    token_bytes = write_frame(token_frame, payload);
    token_word_at = (size_t)(strstr(token_frame, word) - token_frame);
    opening_bytes = (size_t)sprintf(opening, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                                             "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    opening_bytes += write_frame(opening + opening_bytes,
                                 "{" IDENTITY ".chunk" ORIGIN ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                                 "\"content\":\"\",\"refusal\":null},\"finish_reason\":null}],\"usage\":null}");
}

static size_t write_usage(char *to, uint32_t tokens)
{
    return (size_t)sprintf(to, "{\"prompt_tokens\":24,\"completion_tokens\":%u,\"total_tokens\":%u,"
                               "\"prompt_tokens_details\":{\"cached_tokens\":0}}", tokens, tokens + 24);
}

static size_t write_end(char *to, const struct plan *plan)
{
    char payload[900], usage[256];
    size_t bytes = write_frame(to, "{" IDENTITY ".chunk" ORIGIN ",\"choices\":[{\"index\":0,\"delta\":{},"
                                   "\"finish_reason\":\"stop\"}],\"usage\":null}");
    if (plan->usage) {
        write_usage(usage, plan->tokens);
        sprintf(payload, "{" IDENTITY ".chunk" ORIGIN ",\"choices\":[],\"usage\":%s}", usage);
        bytes += write_frame(to + bytes, payload);
    }
    bytes += write_frame(to + bytes, "[DONE]");
    return bytes + (size_t)sprintf(to + bytes, "0\r\n\r\n");
}

/* The whole answer as one JSON document with its head, in scratch. */
static size_t write_whole(const struct plan *plan)
{
    static char body[sizeof scratch - 1024];
    size_t bytes = (size_t)sprintf(body, "{" IDENTITY ORIGIN ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                                         "\"content\":\"");
    uint64_t stamp = now_nanoseconds();
    for (uint32_t number = 0; number < plan->tokens; number++, bytes += WORD_BYTES)
        word_write(body + bytes, number, stamp);
    bytes += (size_t)sprintf(body + bytes, "\",\"refusal\":null},\"finish_reason\":\"stop\"}],\"usage\":");
    bytes += write_usage(body + bytes, plan->tokens);
    bytes += (size_t)sprintf(body + bytes, "}");
    size_t head = (size_t)sprintf(scratch, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                                  bytes);
    memcpy(scratch + head, body, bytes);
    return head + bytes;
}
#endif
