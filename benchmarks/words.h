/* What stands for a token on the wire between simulator and client: a numbered word with the time of its sending.
 *
 * "t000042.0003fa2b1c4d5e6 " is the 43rd word of its stream; after the point stands CLOCK_MONOTONIC in nanoseconds at the
 * moment of the write, in hex. It is plain ASCII that no JSON writer escapes, and all words have the same size, so the
 * reader of a stream can check its whole text byte by byte, however a gateway has cut or joined the pieces.
 */
#ifndef WORDS_H
#define WORDS_H
#include <stdint.h>
#include <string.h>
#include <time.h>

#define WORD_BYTES 24
#define WORD_DIGITS 6
#define STAMP_DIGITS 15

static inline uint64_t now_nanoseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline void word_write(char *to, uint32_t number, uint64_t stamp)
{
    to[0] = 't';
    for (char *digit = to + WORD_DIGITS; digit > to; digit--, number /= 10)
        *digit = (char)('0' + number % 10);
    to[1 + WORD_DIGITS] = '.';
    for (char *digit = to + 1 + WORD_DIGITS + STAMP_DIGITS; digit > to + 1 + WORD_DIGITS; digit--, stamp >>= 4)
        *digit = "0123456789abcdef"[stamp & 15];
    to[WORD_BYTES - 1] = ' ';
}

static inline int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if ((digit | 32) >= 'a' && (digit | 32) <= 'f')
        return (digit | 32) - 'a' + 10;
    return -1;
}

/* Returns 1 and fills in number and stamp if these WORD_BYTES bytes are a word, 0 if they are anything else. */
static inline int word_read(const char *from, uint32_t *number, uint64_t *stamp)
{
    if (from[0] != 't' || from[1 + WORD_DIGITS] != '.' || from[WORD_BYTES - 1] != ' ')
        return 0;
    *number = 0;
    for (int i = 1; i <= WORD_DIGITS; i++) {
        if (from[i] < '0' || from[i] > '9')
            return 0;
        *number = *number * 10 + (uint32_t)(from[i] - '0');
    }
    *stamp = 0;
    for (int i = 2 + WORD_DIGITS; i < WORD_BYTES - 1; i++) {
        int value = hex_value(from[i]);
        if (value < 0)
            return 0;
        *stamp = *stamp << 4 | (uint64_t)value;
    }
    return 1;
}
#endif
