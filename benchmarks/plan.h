/* What a request asks the simulator for.
 *
 * What to send stands in the request's text, so that it passes through any gateway and any protocol:
 *
 *     bench:tokens=120,gap=50000,first=100000,each=1,stay=0;
 *
 * tokens  how many words                         gap    microseconds between two writes; 0: as fast as the socket takes
 * first   microseconds before the first word     each   words a write
 * stay    1: the stream stays open after its last word, without an end
 *
 * The whole plan ends with a semicolon. A request without one is answered with eight words at once.
 */
#ifndef PLAN_H
#define PLAN_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TOKENS 20000
#define MOST_EACH 64

struct plan {
    uint32_t tokens, each;
    uint64_t gap, first; /* nanoseconds */
    bool stay, streamed, usage;
};

static bool is_true(const char *body, size_t bytes, const char *key)
{
    const char *at = memmem(body, bytes, key, strlen(key)), *end = body + bytes;
    if (!at)
        return false;
    for (at += strlen(key); at < end && (*at == ' ' || *at == ':'); at++)
        ;
    return at < end && *at == 't';
}

static uint64_t number_after(const char *text, const char *end, const char *name)
{
    const char *at = memmem(text, (size_t)(end - text), name, strlen(name));
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static struct plan read_plan(const char *body, size_t bytes)
{
    struct plan plan = {.tokens = 8, .each = 1};
    plan.streamed = is_true(body, bytes, "\"stream\"");
    plan.usage = is_true(body, bytes, "\"include_usage\"");
    const char *text = memmem(body, bytes, "bench:", 6);
    const char *end = text ? memchr(text, ';', (size_t)(body + bytes - text)) : NULL;
    if (!end)
        return plan;
    uint64_t tokens = number_after(text, end, "tokens="), each = number_after(text, end, "each=");
    plan.tokens = tokens > MOST_TOKENS ? MOST_TOKENS : (uint32_t)tokens;
    plan.each = each < 1 ? 1 : each > MOST_EACH ? MOST_EACH : (uint32_t)each;
    plan.gap = number_after(text, end, "gap=") * 1000;
    plan.first = number_after(text, end, "first=") * 1000;
    plan.stay = number_after(text, end, "stay=") != 0;
    return plan;
}
#endif
