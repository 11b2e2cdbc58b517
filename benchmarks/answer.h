/* One answer as its reader checks it: bytes in, a verdict out. Opens nothing, sends nothing, reads no clock.
 *
 * An answer is exact when it is status 200, its text is words 0, 1, 2 … without a byte more or less, it has a finish
 * reason (or `done`), its [DONE] where it is streamed, and the end that HTTP framing asks for. The first thing that is not
 * so is its fault; what comes after it is not read.
 */
#ifndef ANSWER_H
#define ANSWER_H
#include "protocols.h"

#define MOST_HEAD_BYTES 32768

/* ---- frames ---- */

/* Returns true if the line has the last one's shape, whose text was one word in a known place. */
static bool has_known_shape(const struct answer *answer, const char *line, size_t count)
{
    size_t after = answer->shape_text + WORD_BYTES;
    return count == answer->shape_bytes && memcmp(line, answer->shape, answer->shape_text) == 0 &&
           memcmp(line + after, answer->shape + after, count - after) == 0;
}

static void take_line(struct answer *answer, const char *line, size_t count)
{
    if (count && line[count - 1] == '\r')
        count--;
    if (answer->shape_bytes && has_known_shape(answer, line, count)) {
        take_text(answer, line + answer->shape_text, WORD_BYTES);
        return;
    }
    const struct protocol *protocol = expected.protocol;
    const char *end = line + count, *json = line;
    if (protocol->framing != LINES) {
        if (protocol->framing == TEXT_EVENTS && count >= 6 && memcmp(line, "event:", 6) == 0)
            blame(answer, REFUSED, line, count); /* an error: nothing else has a name */
        if (count < 5 || memcmp(line, "data:", 5) != 0)
            return; /* comments, ids, event names, blank lines */
        json = json_blank(line + 5, end);
    }
    if (protocol->framing == TEXT_EVENTS) {
        take_text(answer, json, (size_t)(end - json)); /* no word begins with a space */
    } else if (answer->done || (answer->finished && !protocol->says_done)) {
        blame(answer, ENDING, "something follows the end", 25);
    } else if (protocol->says_done && end - json == 6 && memcmp(json, "[DONE]", 6) == 0) {
        answer->done = true;
    } else if (json == end || *json != '{' || json_past(json, end) != end) {
        blame(answer, MALFORMED, line, count);
    } else {
        bool before = answer->finished;
        const char *text = protocol->frame(answer, json, end);
        if (!text)
            return;
        take_string(answer, text, end);
        const char *quote = json_string_end(text, end);
        if (quote && quote - text - 1 == WORD_BYTES && count <= SHAPE_BYTES && before == answer->finished) {
            memcpy(answer->shape, line, count);
            answer->shape_bytes = (uint32_t)count;
            answer->shape_text = (uint32_t)(text + 1 - line);
        }
    }
}

/* ---- bytes ---- */

static void take_body(struct answer *answer, const char *bytes, size_t count)
{
    if (expected.whole || answer->status != 200) {
        carry(answer, bytes, count);
        return;
    }
    if (expected.protocol->framing == BARE) {
        take_text(answer, bytes, count);
        return;
    }
    const char *end = bytes + count;
    while (bytes < end && !answer->fault) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        if (!newline) {
            carry(answer, bytes, (size_t)(end - bytes));
            return;
        }
        if (answer->carried_bytes) {
            carry(answer, bytes, (size_t)(newline - bytes));
            take_line(answer, answer->carried, answer->carried_bytes);
            answer->carried_bytes = 0;
        } else {
            take_line(answer, bytes, (size_t)(newline - bytes));
        }
        bytes = newline + 1;
    }
}

/* Returns true once the last chunk and its trailer have come. */
static bool take_chunks(struct answer *answer, const char *at, const char *end)
{
    while (at < end && !answer->fault) {
        if (answer->chunk == DATA) {
            size_t here = (size_t)(end - at), taken = here < answer->left ? here : (size_t)answer->left;
            take_body(answer, at, taken);
            at += taken;
            answer->left -= taken;
            if (!answer->left)
                answer->chunk = DATA_CR;
            continue;
        }
        char byte = *at++;
        int digit = hex_value(byte);
        if (answer->chunk == SIZE && digit >= 0 && answer->left < 1 << 28)
            answer->left = answer->left * 16 + (uint64_t)digit;
        else if ((answer->chunk == SIZE || answer->chunk == EXTENSION) && byte == '\r')
            answer->chunk = SIZE_END;
        else if (answer->chunk == EXTENSION || (answer->chunk == SIZE && byte == ';'))
            answer->chunk = EXTENSION;
        else if (answer->chunk == SIZE_END && byte == '\n')
            answer->chunk = answer->left ? DATA : TRAILER;
        else if (answer->chunk == DATA_CR && byte == '\r')
            answer->chunk = DATA_LF;
        else if (answer->chunk == DATA_LF && byte == '\n')
            answer->chunk = SIZE;
        else if (answer->chunk == TRAILER && byte == '\n' && !answer->line)
            return true;
        else if (answer->chunk == TRAILER)
            answer->line = byte == '\n' ? 0 : answer->line + (byte != '\r');
        else
            blame(answer, MALFORMED, at - 1, (size_t)(end - at + 1));
    }
    return false;
}

static bool take_bytes(struct answer *answer, const char *bytes, size_t count)
{
    if (answer->chunked)
        return take_chunks(answer, bytes, bytes + count);
    if (!answer->counted) {
        take_body(answer, bytes, count);
        return false; /* until the other side closes */
    }
    size_t taken = count < answer->left ? count : (size_t)answer->left;
    take_body(answer, bytes, taken);
    answer->left -= taken;
    return answer->left == 0;
}

static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) + strspn(at + strlen(name), " \t") : NULL;
}

/* Returns how many of the bytes belong to the head; there is a status once it is complete. */
static size_t take_head(struct answer *answer, const char *bytes, size_t count)
{
    carry(answer, bytes, count);
    char *head = answer->carried;
    char *blank = memmem(head, answer->carried_bytes, "\r\n\r\n", 4);
    if (!blank) {
        if (answer->carried_bytes > MOST_HEAD_BYTES)
            blame(answer, MALFORMED, head, 100);
        return count;
    }
    size_t after = answer->carried_bytes - (size_t)(blank + 4 - head);
    *blank = 0;
    if (strncmp(head, "HTTP/1.1 ", 9) != 0)
        blame(answer, MALFORMED, head, strlen(head));
    answer->status = atoi(head + 9);
    const char *length = header(head, "\r\ncontent-length:"), *coding = header(head, "\r\ntransfer-encoding:");
    const char *keeping = header(head, "\r\nconnection:");
    answer->chunked = coding && strncasecmp(coding, "chunked", 7) == 0;
    answer->counted = length != NULL;
    answer->left = length && !answer->chunked ? strtoull(length, NULL, 10) : 0;
    answer->closes = keeping && strncasecmp(keeping, "close", 5) == 0;
    answer->carried_bytes = 0;
    return count - after;
}

/* The response came to the end that HTTP gives it: is it the answer that was asked for? */
static void judge(struct answer *answer)
{
    const char *body = answer->carried, *end = body + answer->carried_bytes;
    if (answer->status != 200) {
        blame(answer, STATUS, body, answer->carried_bytes);
        return;
    }
    if (expected.whole) {
        const struct protocol *protocol = expected.protocol;
        const char *object = protocol->openai ? json_first(json_member(body, end, "choices"), end) : body;
        const char *holder = protocol->message ? json_member(object, end, protocol->message) : object;
        const char *content = json_member(holder, end, protocol->text);
        if (!json_is_string(content, end))
            blame(answer, MALFORMED, body, answer->carried_bytes);
        else
            take_string(answer, content, end);
        answer->finished = answer->done =
            !protocol->reason || json_equals(json_member(object, end, protocol->reason), end, "stop");
    } else {
        /* Where a protocol has no word for it, the end that HTTP gives is the end. */
        answer->finished |= expected.protocol->framing == TEXT_EVENTS || expected.protocol->framing == BARE;
        answer->done |= !expected.protocol->says_done;
    }
    if (answer->words != expected.tokens || answer->partial_bytes)
        blame(answer, SHORT, "the response is over", 20);
    else if (!answer->finished || !answer->done || (!expected.whole && answer->carried_bytes))
        blame(answer, ENDING, "no finish reason, no [DONE], or half a line", 43);
}

/* ---- what the client calls ---- */

/* Makes ready for another answer; keeps what was allocated. */
static void answer_begin(struct answer *answer, uint64_t asked)
{
    *answer = (struct answer){.asked = asked, .carried = answer->carried, .carried_room = answer->carried_room};
}

/* Takes what one read gave; returns true once the answer is over, well or with a fault. */
static bool answer_feed(struct answer *answer, const char *bytes, size_t count)
{
    size_t used = answer->status ? 0 : take_head(answer, bytes, count);
    bool over = answer->status && !answer->fault && take_bytes(answer, bytes + used, count - used);
    if (over && !answer->fault)
        judge(answer);
    return over || answer->fault;
}

/* The other side has closed: for a body without length that is its end, for any other a cut. */
static void answer_close(struct answer *answer)
{
    if (answer->status && !answer->chunked && !answer->counted)
        judge(answer);
    else
        blame(answer, CUT, "the connection was closed", 25);
}
#endif
