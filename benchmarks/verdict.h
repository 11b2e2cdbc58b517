/* What is known of one answer while it is read: its words so far, and the first thing that was not as it should be.
 *
 * Opens nothing, sends nothing, reads no clock.
 */
#ifndef VERDICT_H
#define VERDICT_H
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "words.h"

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

/* What every answer of this load is to be; of the protocols, protocols.h has the table. */
struct protocol;
static struct {
    uint32_t tokens;
    bool whole;
    const struct protocol *protocol;
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
#endif
