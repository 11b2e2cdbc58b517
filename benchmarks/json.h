/* Just enough JSON to find one value in a frame: walks past what is not asked for, copies nothing.
 *
 * Every function takes the end of the bytes it may read and returns NULL where the JSON breaks off or is malformed.
 */
#ifndef JSON_H
#define JSON_H
#include <string.h>

static inline const char *json_blank(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* at is a string's opening quote; returns its closing quote. */
static inline const char *json_string_end(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        if (*at == '\\')
            at++;
        else if (*at == '"')
            return at;
    }
    return NULL;
}

/* Returns the byte after the value that starts at `at`. */
static inline const char *json_past(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            if (!(at = json_string_end(at, end)))
                return NULL;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            if (--depth < 0)
                return at;
        } else if (*at == ',' && depth == 0) {
            return at;
        }
        at++;
        if (depth == 0 && (at[-1] == '"' || at[-1] == '}' || at[-1] == ']'))
            return at;
    }
    return depth ? NULL : at;
}

/* Returns the first byte of the value that `key` has in the object starting at `at`; NULL where it has none. */
static inline const char *json_member(const char *at, const char *end, const char *key)
{
    size_t key_bytes = strlen(key);
    if (!at || (at = json_blank(at, end)) >= end || *at != '{')
        return NULL;
    at = json_blank(at + 1, end);
    while (at < end && *at == '"') {
        const char *quote = json_string_end(at, end);
        if (!quote)
            return NULL;
        int found = (size_t)(quote - at - 1) == key_bytes && memcmp(at + 1, key, key_bytes) == 0;
        at = json_blank(quote + 1, end);
        if (at >= end || *at != ':')
            return NULL;
        at = json_blank(at + 1, end);
        if (found)
            return at < end ? at : NULL;
        if (!(at = json_past(at, end)))
            return NULL;
        at = json_blank(at, end);
        if (at >= end || *at != ',')
            return NULL;
        at = json_blank(at + 1, end);
    }
    return NULL;
}

/* Returns the first byte of the first item of the array starting at `at`; NULL where it is empty. */
static inline const char *json_first(const char *at, const char *end)
{
    if (!at || at >= end || *at != '[')
        return NULL;
    at = json_blank(at + 1, end);
    return at < end && *at != ']' ? at : NULL;
}

static inline int json_is_string(const char *at, const char *end)
{
    return at && at < end && *at == '"';
}

/* Returns 1 if the value at `at` is exactly this string (which must need no escapes). */
static inline int json_equals(const char *at, const char *end, const char *text)
{
    size_t bytes = strlen(text);
    return json_is_string(at, end) && (size_t)(end - at) >= bytes + 2 && memcmp(at + 1, text, bytes) == 0 &&
           at[bytes + 1] == '"';
}
#endif
