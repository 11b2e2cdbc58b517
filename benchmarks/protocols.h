/* How the frames of each protocol are read. */
#ifndef PROTOCOLS_H
#define PROTOCOLS_H
#include "verdict.h"

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
#endif
