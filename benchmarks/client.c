/* A load client for streamed answers that believes nothing: every word of every stream is checked.
 *
 *     gcc -O2 -o client client.c
 *     ./client --port 8000 --at-once 50 --streams 50 --tokens 120 --gap 50000 --first 100000 --ramp 5000
 *
 *     --port N        on 127.0.0.1           --path P        default: that of the protocol
 *     --protocol P    openai_chat, or typed_events           --model M   asked for; default sim
 *     --at-once N     streams being answered at one time     --streams N in all
 *     --ramp N        mean microseconds between two starts   --whole     ask for answers that are not streamed
 *     --tokens N  --gap N  --first N  --each N               what the simulator shall send, see simulator.c
 *     --deadline N    seconds until what is unfinished counts as failed
 *     --hold          the streams stay open: once all have their words a line {"holding":N} is printed, and the
 *                     rest happens when standard input ends
 *
 * Prints one JSON line. Exit status: 0 every stream exact, 1 some were not, 2 wrong use.
 * A stream is exact when its text is words 0, 1, 2 … without a byte more or less, it has a finish reason (or `done`), its
 * [DONE], and the end that HTTP framing asks for. A stream that is not is hung up and counted under one fault.
 * Single thread, epoll, one clock reading per read.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "json.h"
#include "words.h"

#define MOST_HEAD_BYTES 32768
#define MOST_CARRIED_BYTES (4 << 20)
#define SHAPE_BYTES 1024

/* Why a stream is not exact. */
enum fault { NONE, CONNECT, STATUS, MALFORMED, ORDER, TEXT, REFUSED, ENDING, SHORT, CUT, UNFINISHED, FAULTS };
static const char *const fault_names[FAULTS] = {
    "", "connect", "status", "malformed", "order", "text", "error_frame", "ending", "short", "cut", "unfinished",
};

enum phase { FREE, CONNECTING, HEAD, BODY, HELD };
enum chunk { SIZE, EXTENSION, SIZE_END, DATA, DATA_CR, DATA_LF, TRAILER };

struct connection {
    int fd;
    enum phase phase;
    enum fault fault;
    bool chunked, closes, finished, done;
    enum chunk chunk;
    uint64_t left; /* bytes of the body, or of the chunk */
    bool counted;  /* the body has a known length */
    uint32_t line; /* bytes in the trailer's line */
    int status;
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

struct samples {
    uint32_t *values; /* tenths of a microsecond */
    size_t count, room;
};

static struct {
    int port, deadline;
    uint32_t at_once, streams, tokens, each;
    uint64_t gap, first, ramp;
    bool whole, hold, typed;
    const char *path, *model;
} options = {.port = 8000, .deadline = 60, .at_once = 1, .streams = 1, .tokens = 8, .each = 1, .model = "sim"};

static char request[4096];
static size_t request_bytes;
static int poller;
static struct connection *connections, **idle;
static uint32_t idle_count, started, opening, exact, failed, held, fault_counts[FAULTS];
static uint64_t words, reads, received_bytes, now, first_start, last_end;
static struct samples first_word, word_delay, answer_time;
static char example[200];

/* ---- figures ---- */

static void record(struct samples *samples, uint64_t nanoseconds)
{
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 1 << 16;
        samples->values = realloc(samples->values, samples->room * sizeof *samples->values);
        if (!samples->values)
            abort();
    }
    uint64_t tenths = nanoseconds / 100;
    samples->values[samples->count++] = tenths > UINT32_MAX ? UINT32_MAX : (uint32_t)tenths;
}

static int ascending(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void print_samples(const char *name, struct samples *samples)
{
    if (!samples->count) {
        printf(",\"%s\":null", name);
        return;
    }
    qsort(samples->values, samples->count, sizeof *samples->values, ascending);
    uint32_t *values = samples->values;
    size_t last = samples->count - 1;
    printf(",\"%s\":{\"p50\":%.4f,\"p99\":%.4f,\"max\":%.4f}", name, values[last / 2] / 1e4,
           values[(size_t)((double)last * 0.99)] / 1e4, values[last] / 1e4);
}

static void print_report(void)
{
    double seconds = (double)(last_end - first_start) / 1e9;
    printf("{\"streams\":%u,\"exact\":%u,\"failed\":%u,\"words\":%lu,\"seconds\":%.4f", options.streams, exact, failed,
           words, seconds);
    printf(",\"words_per_second\":%.1f,\"answers_per_second\":%.1f,\"reads\":%lu,\"bytes\":%lu",
           seconds > 0 ? (double)words / seconds : 0, seconds > 0 ? exact / seconds : 0, reads, received_bytes);
    print_samples("first_word_ms", &first_word);
    print_samples("word_delay_ms", &word_delay);
    print_samples("answer_ms", &answer_time);
    printf(",\"faults\":{");
    const char *comma = "";
    for (int fault = 1; fault < FAULTS; fault++)
        if (fault_counts[fault]) {
            printf("%s\"%s\":%u", comma, fault_names[fault], fault_counts[fault]);
            comma = ",";
        }
    printf("},\"example\":\"%s\"}\n", example);
}

/* ---- one connection ---- */

static void blame(struct connection *connection, enum fault fault, const char *bytes, size_t count)
{
    if (connection->fault)
        return;
    connection->fault = fault;
    if (example[0])
        return;
    int at = snprintf(example, sizeof example, "%s after %u words: ", fault_names[fault], connection->words);
    for (size_t i = 0; i < count && at < (int)sizeof example - 1; i++) {
        char byte = bytes[i];
        example[at++] = byte < ' ' || byte > '~' || byte == '\\' ? '.' : byte == '"' ? '\'' : byte;
    }
}

static void carry(struct connection *connection, const char *bytes, size_t count)
{
    size_t needed = connection->carried_bytes + count;
    if (needed > MOST_CARRIED_BYTES) {
        blame(connection, MALFORMED, "no end in sight", 15);
        return;
    }
    if (needed > connection->carried_room) {
        connection->carried_room = needed * 2;
        connection->carried = realloc(connection->carried, connection->carried_room);
        if (!connection->carried)
            abort();
    }
    memcpy(connection->carried + connection->carried_bytes, bytes, count);
    connection->carried_bytes = needed;
}

/* The exchange is over, well or not. The connection is kept for the next one where both sides can. */
static void settle(struct connection *connection, bool reusable)
{
    if (connection->phase == HELD) {
        held--;
        exact--;
    } else {
        opening--;
    }
    if (connection->fault) {
        failed++;
        fault_counts[connection->fault]++;
    } else {
        exact++;
        record(&answer_time, now - connection->asked);
    }
    last_end = now;
    connection->phase = FREE;
    idle[idle_count++] = connection;
    if (!reusable || connection->fault) {
        close(connection->fd);
        connection->fd = -1;
    }
}

static void ask(struct connection *connection)
{
    connection->phase = HEAD;
    connection->asked = now_nanoseconds();
    ssize_t sent = send(connection->fd, request, request_bytes, MSG_NOSIGNAL);
    if (sent != (ssize_t)request_bytes) {
        blame(connection, CONNECT, "the request could not be sent", 29);
        settle(connection, false);
    }
}

static void watch(struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(poller, operation, connection->fd, &event);
}

static void start(void)
{
    struct connection *connection = idle[--idle_count];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    char *carried = connection->carried;
    size_t room = connection->carried_room;
    int fd = connection->fd, one = 1;
    *connection = (struct connection){.fd = fd, .carried = carried, .carried_room = room};
    started++;
    opening++;
    if (fd >= 0) {
        ask(connection);
        return;
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->phase = CONNECTING;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int outcome = connect(connection->fd, (struct sockaddr *)&address, sizeof address);
    if (outcome == 0) {
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
        ask(connection);
    } else if (errno == EINPROGRESS) {
        watch(connection, EPOLL_CTL_ADD, EPOLLOUT);
    } else {
        blame(connection, CONNECT, strerror(errno), strlen(strerror(errno)));
        settle(connection, false);
    }
}

static void connected(struct connection *connection)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        blame(connection, CONNECT, strerror(error), strlen(strerror(error)));
        settle(connection, false);
        return;
    }
    watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    ask(connection);
}

/* ---- the text ---- */

static void take_word(struct connection *connection, const char *bytes)
{
    uint32_t number;
    uint64_t stamp;
    if (!word_read(bytes, &number, &stamp)) {
        blame(connection, TEXT, bytes, WORD_BYTES);
        return;
    }
    if (number != connection->words) {
        blame(connection, ORDER, bytes, WORD_BYTES);
        return;
    }
    if (number == 0 && !options.whole)
        record(&first_word, now - connection->asked);
    if (!options.whole)
        record(&word_delay, now > stamp ? now - stamp : 0);
    connection->words++;
    words++;
}

static void take_text(struct connection *connection, const char *text, size_t count)
{
    while (count && !connection->fault) {
        if (!connection->partial_bytes && count >= WORD_BYTES) {
            take_word(connection, text);
            text += WORD_BYTES;
            count -= WORD_BYTES;
            continue;
        }
        size_t wanted = WORD_BYTES - connection->partial_bytes, taken = count < wanted ? count : wanted;
        memcpy(connection->partial + connection->partial_bytes, text, taken);
        connection->partial_bytes += (uint32_t)taken;
        text += taken;
        count -= taken;
        if (connection->partial_bytes == WORD_BYTES) {
            connection->partial_bytes = 0;
            take_word(connection, connection->partial);
        }
    }
}

/* at is a JSON string's opening quote. An escape in it fails as text: no word needs one. */
static void take_string(struct connection *connection, const char *at, const char *end)
{
    const char *quote = json_string_end(at, end);
    if (!quote)
        blame(connection, MALFORMED, at, (size_t)(end - at));
    else
        take_text(connection, at + 1, (size_t)(quote - at - 1));
}

/* The answer told once more as a whole, in the frame that ends a typed stream: all words, in order, and nothing else. */
static void compare_whole(struct connection *connection, const char *at, const char *end)
{
    const char *quote = json_is_string(at, end) ? json_string_end(at, end) : NULL;
    uint32_t number, told = 0;
    uint64_t stamp;
    if (!quote)
        return;
    for (at++; quote - at >= WORD_BYTES && word_read(at, &number, &stamp) && number == told; at += WORD_BYTES)
        told++;
    if (at != quote || told != connection->words)
        blame(connection, TEXT, "`done` tells another text than the tokens did", 45);
}

/* ---- frames ---- */

/* Returns the opening quote of the frame's text where it has any. */
static const char *read_openai_frame(struct connection *connection, const char *json, const char *end)
{
    const char *choice = json_first(json_member(json, end, "choices"), end);
    if (json_member(json, end, "error")) {
        blame(connection, REFUSED, json, (size_t)(end - json));
        return NULL;
    }
    if (json_is_string(json_member(choice, end, "finish_reason"), end)) {
        if (connection->finished || !json_equals(json_member(choice, end, "finish_reason"), end, "stop"))
            blame(connection, ENDING, choice, (size_t)(end - choice));
        connection->finished = true;
    }
    const char *content = json_member(json_member(choice, end, "delta"), end, "content");
    return json_is_string(content, end) ? content : NULL;
}

static const char *read_typed_frame(struct connection *connection, const char *json, const char *end)
{
    const char *type = json_member(json, end, "type"), *content = json_member(json, end, "content");
    if (json_equals(type, end, "token"))
        return json_is_string(content, end) ? content : NULL;
    if (json_equals(type, end, "error"))
        blame(connection, REFUSED, json, (size_t)(end - json));
    if (json_equals(type, end, "done")) {
        if (connection->finished)
            blame(connection, ENDING, json, (size_t)(end - json));
        connection->finished = true;
        compare_whole(connection, content, end);
    }
    return NULL;
}

/* Returns true if the line has the last one's shape, whose text was one word in a known place. */
static bool has_known_shape(const struct connection *connection, const char *line, size_t count)
{
    size_t after = connection->shape_text + WORD_BYTES;
    return count == connection->shape_bytes && memcmp(line, connection->shape, connection->shape_text) == 0 &&
           memcmp(line + after, connection->shape + after, count - after) == 0;
}

static void take_line(struct connection *connection, const char *line, size_t count)
{
    if (count && line[count - 1] == '\r')
        count--;
    if (connection->shape_bytes && has_known_shape(connection, line, count)) {
        take_text(connection, line + connection->shape_text, WORD_BYTES);
        return;
    }
    if (count < 5 || memcmp(line, "data:", 5) != 0)
        return; /* comments, ids, event names, blank lines */
    const char *end = line + count, *json = json_blank(line + 5, end);
    if (connection->done) {
        blame(connection, ENDING, "something follows [DONE]", 24);
    } else if (end - json == 6 && memcmp(json, "[DONE]", 6) == 0) {
        connection->done = true;
    } else if (json == end || *json != '{' || json_past(json, end) != end) {
        blame(connection, MALFORMED, line, count);
    } else {
        bool before = connection->finished;
        const char *text = options.typed ? read_typed_frame(connection, json, end) : read_openai_frame(connection, json, end);
        if (!text)
            return;
        take_string(connection, text, end);
        const char *quote = json_string_end(text, end);
        if (quote && quote - text - 1 == WORD_BYTES && count <= SHAPE_BYTES && before == connection->finished) {
            memcpy(connection->shape, line, count);
            connection->shape_bytes = (uint32_t)count;
            connection->shape_text = (uint32_t)(text + 1 - line);
        }
    }
}

/* ---- bytes ---- */

static void take_body(struct connection *connection, const char *bytes, size_t count)
{
    if (options.whole || connection->status != 200) {
        carry(connection, bytes, count);
        return;
    }
    const char *end = bytes + count;
    while (bytes < end && !connection->fault) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        if (!newline) {
            carry(connection, bytes, (size_t)(end - bytes));
            return;
        }
        if (connection->carried_bytes) {
            carry(connection, bytes, (size_t)(newline - bytes));
            take_line(connection, connection->carried, connection->carried_bytes);
            connection->carried_bytes = 0;
        } else {
            take_line(connection, bytes, (size_t)(newline - bytes));
        }
        bytes = newline + 1;
    }
}

/* Returns true once the last chunk and its trailer have come. */
static bool take_chunks(struct connection *connection, const char *at, const char *end)
{
    while (at < end && !connection->fault) {
        if (connection->chunk == DATA) {
            size_t here = (size_t)(end - at), taken = here < connection->left ? here : (size_t)connection->left;
            take_body(connection, at, taken);
            at += taken;
            connection->left -= taken;
            if (!connection->left)
                connection->chunk = DATA_CR;
            continue;
        }
        char byte = *at++;
        int digit = hex_value(byte);
        if (connection->chunk == SIZE && digit >= 0 && connection->left < 1 << 28)
            connection->left = connection->left * 16 + (uint64_t)digit;
        else if ((connection->chunk == SIZE || connection->chunk == EXTENSION) && byte == '\r')
            connection->chunk = SIZE_END;
        else if (connection->chunk == EXTENSION || (connection->chunk == SIZE && byte == ';'))
            connection->chunk = EXTENSION;
        else if (connection->chunk == SIZE_END && byte == '\n')
            connection->chunk = connection->left ? DATA : TRAILER;
        else if (connection->chunk == DATA_CR && byte == '\r')
            connection->chunk = DATA_LF;
        else if (connection->chunk == DATA_LF && byte == '\n')
            connection->chunk = SIZE;
        else if (connection->chunk == TRAILER && byte == '\n' && !connection->line)
            return true;
        else if (connection->chunk == TRAILER)
            connection->line = byte == '\n' ? 0 : connection->line + (byte != '\r');
        else
            blame(connection, MALFORMED, at - 1, (size_t)(end - at + 1));
    }
    return false;
}

static bool take_bytes(struct connection *connection, const char *bytes, size_t count)
{
    if (connection->chunked)
        return take_chunks(connection, bytes, bytes + count);
    if (!connection->counted) {
        take_body(connection, bytes, count);
        return false; /* until the other side closes */
    }
    size_t taken = count < connection->left ? count : (size_t)connection->left;
    take_body(connection, bytes, taken);
    connection->left -= taken;
    return connection->left == 0;
}

static const char *header(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) + strspn(at + strlen(name), " \t") : NULL;
}

/* Returns how many of the bytes belong to the head; the phase is BODY once it is complete. */
static size_t take_head(struct connection *connection, const char *bytes, size_t count)
{
    carry(connection, bytes, count);
    char *head = connection->carried;
    char *blank = memmem(head, connection->carried_bytes, "\r\n\r\n", 4);
    if (!blank) {
        if (connection->carried_bytes > MOST_HEAD_BYTES)
            blame(connection, MALFORMED, head, 100);
        return count;
    }
    size_t after = connection->carried_bytes - (size_t)(blank + 4 - head);
    *blank = 0;
    if (strncmp(head, "HTTP/1.1 ", 9) != 0)
        blame(connection, MALFORMED, head, strlen(head));
    else
        connection->status = atoi(head + 9);
    const char *length = header(head, "\r\ncontent-length:"), *coding = header(head, "\r\ntransfer-encoding:");
    const char *keeping = header(head, "\r\nconnection:");
    connection->chunked = coding && strncasecmp(coding, "chunked", 7) == 0;
    connection->counted = length != NULL;
    connection->left = length && !connection->chunked ? strtoull(length, NULL, 10) : 0;
    connection->closes = keeping && strncasecmp(keeping, "close", 5) == 0;
    connection->phase = BODY;
    connection->carried_bytes = 0;
    return count - after;
}

/* The response came to the end that HTTP gives it: is it the answer that was asked for? */
static void judge(struct connection *connection)
{
    const char *body = connection->carried, *end = body + connection->carried_bytes;
    if (connection->status != 200) {
        blame(connection, STATUS, body, connection->carried_bytes);
        return;
    }
    if (options.whole) {
        const char *choice = json_first(json_member(body, end, "choices"), end);
        const char *content = json_member(options.typed ? body : json_member(choice, end, "message"), end, "content");
        if (!json_is_string(content, end))
            blame(connection, MALFORMED, body, connection->carried_bytes);
        else
            take_string(connection, content, end);
        connection->finished = connection->done =
            json_equals(json_member(options.typed ? body : choice, end, "finish_reason"), end, "stop");
    }
    if (connection->words != options.tokens || connection->partial_bytes)
        blame(connection, SHORT, "the response is over", 20);
    else if (!connection->finished || !connection->done || (!options.whole && connection->carried_bytes))
        blame(connection, ENDING, "no finish reason, no [DONE], or half a line", 43);
}

static void hold(struct connection *connection)
{
    if (options.hold && connection->phase == BODY && connection->words == options.tokens && !connection->fault) {
        connection->phase = HELD;
        opening--;
        held++;
        exact++;
    }
}

static void take_read(struct connection *connection, char *buffer, size_t room)
{
    ssize_t got = recv(connection->fd, buffer, room, 0);
    now = now_nanoseconds();
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (connection->phase == FREE) { /* an idle connection that the other side gives up, or on which it babbles */
        close(connection->fd);
        connection->fd = -1;
        return;
    }
    if (got <= 0) {
        bool until_close = connection->phase == BODY && !connection->chunked && !connection->counted && got == 0;
        if (until_close)
            judge(connection);
        else
            blame(connection, CUT, "the connection was closed", 25);
        settle(connection, false);
        return;
    }
    reads++;
    received_bytes += (uint64_t)got;
    size_t count = (size_t)got, used = connection->phase == HEAD ? take_head(connection, buffer, count) : 0;
    bool over = connection->phase != HEAD && !connection->fault && take_bytes(connection, buffer + used, count - used);
    if (over && !connection->fault)
        judge(connection);
    if (over || connection->fault)
        settle(connection, !connection->closes);
    else
        hold(connection);
}

/* ---- the load ---- */

static void write_request(void)
{
    static char body[2048], plan[200];
    sprintf(plan, "Tell me about streaming. bench:tokens=%u,gap=%lu,first=%lu,each=%u,stay=%d;", options.tokens, options.gap,
            options.first, options.each, options.hold);
    const char *streamed = options.whole ? "false" : "true";
    if (options.typed)
        snprintf(body, sizeof body, "{\"model\":\"%s\",\"query\":\"%s\",\"meta_params\":{\"stream\":%s}}", options.model, plan,
                 streamed);
    else
        snprintf(body, sizeof body,
                 "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},"
                 "{\"role\":\"user\",\"content\":\"%s\"}],\"max_tokens\":%u,\"stream\":%s%s}",
                 options.model, plan, options.tokens, streamed,
                 options.whole ? "" : ",\"stream_options\":{\"include_usage\":true}");
    int written = snprintf(request, sizeof request,
                           "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: */*\r\n"
                           "Authorization: Bearer sk-benchmark-0123456789\r\nContent-Length: %zu\r\n\r\n%s",
                           options.path, options.port, strlen(body), body);
    if (written >= (int)sizeof request)
        exit(2);
    request_bytes = (size_t)written;
}

static void read_options(int count, char **arguments)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'},  {"path", 1, 0, 'u'},  {"protocol", 1, 0, 'P'}, {"model", 1, 0, 'm'},    {"at-once", 1, 0, 'c'},
        {"streams", 1, 0, 's'}, {"ramp", 1, 0, 'r'}, {"whole", 0, 0, 'w'},    {"tokens", 1, 0, 'n'},   {"gap", 1, 0, 'g'},
        {"first", 1, 0, 'f'}, {"each", 1, 0, 'e'},  {"hold", 0, 0, 'h'},     {"deadline", 1, 0, 'd'}, {0, 0, 0, 0},
    };
    for (int letter; (letter = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        unsigned long number = optarg ? strtoul(optarg, NULL, 10) : 0;
        switch (letter) {
        case 'p': options.port = (int)number; break;
        case 'u': options.path = optarg; break;
        case 'm': options.model = optarg; break;
        case 'c': options.at_once = (uint32_t)number; break;
        case 's': options.streams = (uint32_t)number; break;
        case 'r': options.ramp = number * 1000; break;
        case 'w': options.whole = true; break;
        case 'n': options.tokens = (uint32_t)number; break;
        case 'g': options.gap = number; break;
        case 'f': options.first = number; break;
        case 'e': options.each = (uint32_t)number; break;
        case 'h': options.hold = true; break;
        case 'd': options.deadline = (int)number; break;
        case 'P':
            options.typed = strcmp(optarg, "typed_events") == 0;
            if (options.typed || strcmp(optarg, "openai_chat") == 0)
                break;
            fprintf(stderr, "client: no protocol %s; there are openai_chat and typed_events\n", optarg);
            exit(2);
        default: exit(2);
        }
    }
    if (!options.at_once || !options.streams || !options.tokens || optind < count) {
        fprintf(stderr, "client: --at-once, --streams and --tokens are at least 1, and nothing stands without a name\n");
        exit(2);
    }
    if (!options.path)
        options.path = options.typed ? "/chat/basic" : "/v1/chat/completions";
}

/* Readers come at random, the same way each time. Evenly spaced starts would meet again in every gap between two words:
 * several streams would always be due in the same instant, and a gateway would be paid for a batching that is not its own. */
static uint64_t between_starts(void)
{
    static unsigned short seed[3] = {20, 11, 2026};
    return (uint64_t)(erand48(seed) * 2 * (double)options.ramp);
}

/* Starts what may start now; returns how long to sleep at most, in nanoseconds. */
static uint64_t start_due(uint64_t *next_start)
{
    while (started < options.streams && opening < options.at_once && idle_count) {
        now = now_nanoseconds();
        if (*next_start > now)
            return *next_start - now;
        *next_start += between_starts();
        start();
    }
    return 100000000u;
}

static void give_up_the_rest(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (connections[i].phase != FREE && connections[i].phase != HELD) {
            blame(&connections[i], UNFINISHED, "the deadline came first", 23);
            settle(&connections[i], false);
        }
    uint32_t never = options.streams - started;
    failed += never;
    fault_counts[UNFINISHED] += never;
}

static void run(uint32_t count)
{
    static struct epoll_event events[512];
    static char buffer[1 << 18];
    uint64_t next_start = first_start = now = now_nanoseconds();
    uint64_t deadline = first_start + (uint64_t)options.deadline * 1000000000u;
    bool told = false;
    while (exact - held + failed < options.streams) {
        uint64_t sleep = start_due(&next_start);
        if (options.hold && held + failed == options.streams && !told) {
            struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
            last_end = now;
            printf("{\"holding\":%u}\n", held);
            fflush(stdout);
            /* A file or /dev/null cannot be watched, and has ended already. */
            if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event))
                return;
            told = true;
        }
        struct timespec wait = {0, (long)sleep};
        int ready = epoll_pwait2(poller, events, 512, &wait, NULL);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection)
                return;
            if (connection->fd >= 0 && connection->phase == CONNECTING)
                connected(connection);
            else if (connection->fd >= 0)
                take_read(connection, buffer, sizeof buffer);
        }
        if (!told && now_nanoseconds() > deadline) {
            give_up_the_rest(count);
            return;
        }
    }
}

int main(int count, char **arguments)
{
    read_options(count, arguments);
    signal(SIGPIPE, SIG_IGN);
    write_request();
    poller = epoll_create1(0);
    uint32_t room = options.hold || options.at_once > options.streams ? options.streams : options.at_once;
    connections = calloc(room, sizeof *connections);
    idle = calloc(room, sizeof *idle);
    if (!connections || !idle)
        abort();
    for (idle_count = 0; idle_count < room; idle_count++) {
        connections[idle_count].fd = -1;
        idle[idle_count] = &connections[idle_count];
    }
    run(room);
    print_report();
    return failed ? 1 : 0;
}
