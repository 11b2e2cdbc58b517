/* The protocols that a load can be asked for in: where, how, and how their frames are read.
 *
 * A frame reader marks the end of the answer in `finished`, blames what it may not be, and returns the opening quote of the
 * frame's text where it has any.
 */
#ifndef PROTOCOLS_H
#define PROTOCOLS_H
#include "verdict.h"

/* How records stand on the connection: JSON in server-sent events, text in them, JSON in lines, nothing but text. */
enum framing { EVENTS, TEXT_EVENTS, LINES, BARE };

struct protocol {
    const char *name, *path;
    const char *whole_path; /* where it is asked for whole; NULL: nowhere */
    enum framing framing;
    bool says_done; /* its streams end in [DONE] */
    bool openai;    /* it is asked for the limit and for usage in OpenAI's words */
    const char *question; /* of the body, with %s where the question goes */
    const char *(*frame)(struct answer *, const char *, const char *);
    const char *message; /* of a whole answer, where the text is in an object of its own */
    const char *text, *reason; /* of a whole answer: the names of its text and of its finish reason, where it has one */
};

static void finish(struct answer *answer, const char *at, const char *end)
{
    if (answer->finished)
        blame(answer, ENDING, at, (size_t)(end - at));
    answer->finished = true;
}

static const char *string_or_none(const char *at, const char *end)
{
    return json_is_string(at, end) ? at : NULL;
}

/* Of both OpenAI protocols: the choice, once errors and the finish reason are seen to. */
static const char *read_choice(struct answer *answer, const char *json, const char *end)
{
    const char *choice = json_first(json_member(json, end, "choices"), end);
    if (json_member(json, end, "error")) {
        blame(answer, REFUSED, json, (size_t)(end - json));
        return NULL;
    }
    if (json_is_string(json_member(choice, end, "finish_reason"), end)) {
        if (!json_equals(json_member(choice, end, "finish_reason"), end, "stop"))
            blame(answer, ENDING, choice, (size_t)(end - choice));
        finish(answer, choice, end);
    }
    return choice;
}

static const char *read_openai_chat(struct answer *answer, const char *json, const char *end)
{
    const char *delta = json_member(read_choice(answer, json, end), end, "delta");
    return string_or_none(json_member(delta, end, "content"), end);
}

static const char *read_openai_completions(struct answer *answer, const char *json, const char *end)
{
    return string_or_none(json_member(read_choice(answer, json, end), end, "text"), end);
}

static const char *read_typed_frame(struct answer *answer, const char *json, const char *end)
{
    const char *type = json_member(json, end, "type"), *content = json_member(json, end, "content");
    if (json_equals(type, end, "token"))
        return json_is_string(content, end) ? content : NULL;
    if (json_equals(type, end, "error"))
        blame(answer, REFUSED, json, (size_t)(end - json));
    if (json_equals(type, end, "done")) {
        finish(answer, json, end);
        compare_whole(answer, content, end);
    }
    return NULL;
}

/* Frames that say `done`: token frames and Ollama's lines. Returns false for an error. */
static bool read_done(struct answer *answer, const char *json, const char *end)
{
    const char *done = json_member(json, end, "done");
    if (json_member(json, end, "error")) {
        blame(answer, REFUSED, json, (size_t)(end - json));
        return false;
    }
    if (done && *done == 't')
        finish(answer, json, end);
    return true;
}

static const char *read_token(struct answer *answer, const char *json, const char *end)
{
    return read_done(answer, json, end) ? string_or_none(json_member(json, end, "token"), end) : NULL;
}

static const char *read_chat_token(struct answer *answer, const char *json, const char *end)
{
    const char *type = json_member(json, end, "type");
    if (json_equals(type, end, "error"))
        blame(answer, REFUSED, json, (size_t)(end - json));
    if (json_equals(type, end, "done"))
        finish(answer, json, end);
    return json_equals(type, end, "token") ? string_or_none(json_member(json, end, "content"), end) : NULL;
}

static const char *read_ollama_chat(struct answer *answer, const char *json, const char *end)
{
    const char *message = read_done(answer, json, end) ? json_member(json, end, "message") : NULL;
    return string_or_none(json_member(message, end, "content"), end);
}

static const char *read_ollama_generate(struct answer *answer, const char *json, const char *end)
{
    return read_done(answer, json, end) ? string_or_none(json_member(json, end, "response"), end) : NULL;
}

#define MESSAGES \
    "\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"}," \
    "{\"role\":\"user\",\"content\":\"%s\"}]"
#define PROMPT "\"prompt\":\"%s\""

/* In the words that headrace has for them. */
static const struct protocol protocols[] = {
    {"openai_chat", "/v1/chat/completions", "/v1/chat/completions", EVENTS, true, true, MESSAGES, read_openai_chat,
     "message", "content", "finish_reason"},
    {"openai_completions", "/v1/completions", "/v1/completions", EVENTS, true, true, PROMPT, read_openai_completions, NULL,
     "text", "finish_reason"},
    {"typed_events", "/chat/basic", "/chat/basic", EVENTS, true, false, "\"query\":\"%s\"", read_typed_frame, NULL,
     "content", "finish_reason"},
    {"text", "/chat", "/chat", TEXT_EVENTS, false, false, PROMPT, NULL, NULL, "content", NULL},
    {"plain_text", "/api/query/stream", "/api/query", BARE, false, false, "\"question\":\"%s\"", NULL, NULL, "answer",
     NULL},
    {"token_frames", "/api/generate/stream", NULL, EVENTS, false, false, PROMPT, read_token, NULL, NULL, NULL},
    {"chat_token_frames", "/api/chat/stream", NULL, EVENTS, false, false, "\"message\":\"%s\"", read_chat_token, NULL,
     NULL, NULL},
    {"ollama_chat", "/api/chat", "/api/chat", LINES, false, false, MESSAGES, read_ollama_chat, "message", "content",
     "done_reason"},
    {"ollama_generate", "/api/generate", "/api/generate", LINES, false, false, PROMPT, read_ollama_generate, NULL,
     "response", "done_reason"},
};
#define PROTOCOLS (sizeof protocols / sizeof *protocols)

static const struct protocol *protocol_named(const char *name)
{
    for (size_t i = 0; i < PROTOCOLS; i++)
        if (strcmp(protocols[i].name, name) == 0)
            return &protocols[i];
    return NULL;
}
#endif
