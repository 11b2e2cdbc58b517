/* One answer as its reader checks it: bytes in, a verdict out. Opens nothing, sends nothing, reads no clock.
 *
 * An answer is exact when it is status 200, its text is words 0, 1, 2 … without a byte more or less, it has a finish
 * reason (or `done`), its [DONE] where it is streamed, and the end that HTTP framing asks for. The first thing that is not
 * so is its fault; what comes after it is not read.
 */
#ifndef ANSWER_H
#define ANSWER_H
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "words.h"

#define MOST_HEAD_BYTES 32768
#define MOST_CARRIED_BYTES (4 << 20)
#define SHAPE_BYTES 1024

/* Why an answer is not exact. */
enum fault { NONE, CONNECT, STATUS, MALFORMED, ORDER, TEXT, REFUSED, ENDING, SHORT, CUT, UNFINISHED, FAULTS };
static const char *const fault_names[FAULTS] = {
    "", "connect", "status", "malformed", "order", "text", "error_frame", "ending", "short", "cut", "unfinished",
};

enum chunk { SIZE, EXTENSION, SIZE_END, DATA, DATA_CR, DATA_LF, TRAILER };

struct answer {
    enum fault fault;
    int status; /* 0 until the head has come */
    bool chunked, counted, closes; /* framing; counted: the body has a known length */
    bool finished, done; /* a finish reason has come, [DONE] has come */
    enum chunk chunk;
    uint64_t left; /* bytes of the body, or of the chunk */
    uint32_t line; /* bytes in the trailer's line */
    uint64_t asked; /* when the request was sent */
    uint32_t words;
    char partial[WORD_BYTES]; /* a word that a gateway cut in two */
    uint32_t partial_bytes;
    char *carried; /* a head, a line or a whole body that has not come to its end */
    size_t carried_bytes, carried_room;
    /* Frames of one stream differ only in their word; one that has the shape of the last is not parsed again. */
    char shape[SHAPE_BYTES];
    uint32_t shape_bytes, shape_text;
};

/* What every answer of this load is to be. */
static struct {
    uint32_t tokens;
    bool whole, typed;
} expected;

/* The first fault of all, in words. */
static char first_fault[200];

/* Told of every word that is in its place; defined by who includes this file. */
static void word_came(const struct answer *answer, uint32_t number, uint64_t stamp);

/* ---- faults, and bytes that wait for more ---- */

static void blame(struct answer *answer, enum fault fault, const char *bytes, size_t count)
{
    if (answer->fault)
        return;
    answer->fault = fault;
    if (first_fault[0])
        return;
    int at = snprintf(first_fault, sizeof first_fault, "%s after %u words: ", fault_names[fault], answer->words);
    for (size_t i = 0; i < count && at < (int)sizeof first_fault - 1; i++) {
        char byte = bytes[i];
        first_fault[at++] = byte < ' ' || byte > '~' || byte == '\\' ? '.' : byte == '"' ? '\'' : byte;
    }
}

static void carry(struct answer *answer, const char *bytes, size_t count)
{
    size_t needed = answer->carried_bytes + count;
    if (needed > MOST_CARRIED_BYTES) {
        blame(answer, MALFORMED, "no end in sight", 15);
        return;
    }
    if (needed > answer->carried_room) {
        answer->carried_room = needed * 2;
        answer->carried = realloc(answer->carried, answer->carried_room);
        if (!answer->carried)
            abort();
    }
    memcpy(answer->carried + answer->carried_bytes, bytes, count);
    answer->carried_bytes = needed;
}

/* ---- the text ---- */

static void take_word(struct answer *answer, const char *bytes)
{
    uint32_t number;
    uint64_t stamp;
    if (!word_read(bytes, &number, &stamp)) {
        blame(answer, TEXT, bytes, WORD_BYTES);
        return;
    }
    if (number != answer->words) {
        blame(answer, ORDER, bytes, WORD_BYTES);
        return;
    }
    word_came(answer, number, stamp);
    answer->words++;
}

static void take_text(struct answer *answer, const char *text, size_t count)
{
    while (count && !answer->fault) {
        if (!answer->partial_bytes && count >= WORD_BYTES) {
            take_word(answer, text);
            text += WORD_BYTES;
            count -= WORD_BYTES;
            continue;
        }
        size_t wanted = WORD_BYTES - answer->partial_bytes, taken = count < wanted ? count : wanted;
        memcpy(answer->partial + answer->partial_bytes, text, taken);
        answer->partial_bytes += (uint32_t)taken;
        text += taken;
        count -= taken;
        if (answer->partial_bytes == WORD_BYTES) {
            answer->partial_bytes = 0;
            take_word(answer, answer->partial);
        }
    }
}

/* at is a JSON string's opening quote. An escape in it fails as text: no word needs one. */
static void take_string(struct answer *answer, const char *at, const char *end)
{
    const char *quote = json_string_end(at, end);
    if (!quote)
        blame(answer, MALFORMED, at, (size_t)(end - at));
    else
        take_text(answer, at + 1, (size_t)(quote - at - 1));
}

/* The answer told once more as a whole, in the frame that ends a typed stream: all words, in order, and nothing else. */
static void compare_whole(struct answer *answer, const char *at, const char *end)
{
    const char *quote = json_is_string(at, end) ? json_string_end(at, end) : NULL;
    uint32_t number, told = 0;
    uint64_t stamp;
    if (!quote)
        return;
    for (at++; quote - at >= WORD_BYTES && word_read(at, &number, &stamp) && number == told; at += WORD_BYTES)
        told++;
    if (at != quote || told != answer->words)
        blame(answer, TEXT, "`done` tells another text than the tokens did", 45);
}

/* ---- frames ---- */

/* Returns the opening quote of the frame's text where it has any. */
static const char *read_openai_frame(struct answer *answer, const char *json, const char *end)
{
    const char *choice = json_first(json_member(json, end, "choices"), end);
    if (json_member(json, end, "error")) {
        blame(answer, REFUSED, json, (size_t)(end - json));
        return NULL;
    }
    if (json_is_string(json_member(choice, end, "finish_reason"), end)) {
        if (answer->finished || !json_equals(json_member(choice, end, "finish_reason"), end, "stop"))
            blame(answer, ENDING, choice, (size_t)(end - choice));
        answer->finished = true;
    }
    const char *content = json_member(json_member(choice, end, "delta"), end, "content");
    return json_is_string(content, end) ? content : NULL;
}

static const char *read_typed_frame(struct answer *answer, const char *json, const char *end)
{
    const char *type = json_member(json, end, "type"), *content = json_member(json, end, "content");
    if (json_equals(type, end, "token"))
        return json_is_string(content, end) ? content : NULL;
    if (json_equals(type, end, "error"))
        blame(answer, REFUSED, json, (size_t)(end - json));
    if (json_equals(type, end, "done")) {
        if (answer->finished)
            blame(answer, ENDING, json, (size_t)(end - json));
        answer->finished = true;
        compare_whole(answer, content, end);
    }
    return NULL;
}

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
    if (count < 5 || memcmp(line, "data:", 5) != 0)
        return; /* comments, ids, event names, blank lines */
    const char *end = line + count, *json = json_blank(line + 5, end);
    if (answer->done) {
        blame(answer, ENDING, "something follows [DONE]", 24);
    } else if (end - json == 6 && memcmp(json, "[DONE]", 6) == 0) {
        answer->done = true;
    } else if (json == end || *json != '{' || json_past(json, end) != end) {
        blame(answer, MALFORMED, line, count);
    } else {
        bool before = answer->finished;
        const char *text = expected.typed ? read_typed_frame(answer, json, end) : read_openai_frame(answer, json, end);
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
        const char *choice = json_first(json_member(body, end, "choices"), end);
        const char *content = json_member(expected.typed ? body : json_member(choice, end, "message"), end, "content");
        if (!json_is_string(content, end))
            blame(answer, MALFORMED, body, answer->carried_bytes);
        else
            take_string(answer, content, end);
        answer->finished = answer->done =
            json_equals(json_member(expected.typed ? body : choice, end, "finish_reason"), end, "stop");
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
