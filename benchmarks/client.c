/* A load client for streamed answers that believes nothing: every word of every stream is checked.
 *
 *     gcc -O2 -o client client.c
 *     ./client --port 8000 --at-once 50 --streams 50 --tokens 120 --gap 50000 --first 100000 --ramp 5000
 *
 *     --port N        on 127.0.0.1           --path P        default: that of the protocol
 *     --protocol P    default openai_chat; --protocol help names all         --model M   asked for; default sim
 *     --at-once N     streams being answered at one time     --streams N in all
 *     --ramp N        mean microseconds between two starts   --whole     ask for answers that are not streamed
 *     --tokens N  --gap N  --first N  --each N               what the simulator shall send, see simulator.c
 *     --deadline N    seconds until what is unfinished counts as failed
 *     --hold          the streams stay open: once all have their words a line {"holding":N} is printed, and the
 *                     rest happens when standard input ends
 *
 * Prints one JSON line. Exit status: 0 every stream exact, 1 some were not, 2 wrong use.
 * What exact means is written in answer.h. A stream that is not exact is hung up and counted under one fault.
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

#include "answer.h"

#define A_WHILE 100000000u /* nanoseconds between two looks at the deadline, at most */

enum phase { FREE, CONNECTING, READING, HELD };

struct connection {
    int fd;
    enum phase phase;
    struct answer answer;
};

struct samples {
    uint32_t *values; /* tenths of a microsecond */
    size_t count, room;
};

static struct {
    int port, deadline;
    uint32_t at_once, streams, each;
    uint64_t gap, first, ramp;
    bool hold;
    const char *path, *model;
} options = {.port = 8000, .deadline = 60, .at_once = 1, .streams = 1, .each = 1, .model = "sim"};

static char request[4096];
static size_t request_bytes;
static int poller;
static struct connection *connections, **idle;
static uint32_t idle_count, started, opening, exact, failed, held, fault_counts[FAULTS];
static uint64_t words, reads, received_bytes, now, first_start, last_end;
static struct samples first_word, word_delay, answer_time;

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

static void word_came(const struct answer *answer, uint32_t number, uint64_t stamp)
{
    words++;
    if (expected.whole)
        return; /* all come at once, with the stamp of one moment */
    if (number == 0)
        record(&first_word, now - answer->asked);
    record(&word_delay, now > stamp ? now - stamp : 0);
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
    printf("},\"example\":\"%s\"}\n", first_fault);
}

/* ---- one connection ---- */

/* The exchange is over, well or not. The connection is kept for the next one where both sides can. */
static void settle(struct connection *connection, bool reusable)
{
    if (connection->phase == HELD) {
        held--;
        exact--;
    } else {
        opening--;
    }
    if (connection->answer.fault) {
        failed++;
        fault_counts[connection->answer.fault]++;
    } else {
        exact++;
        record(&answer_time, now - connection->answer.asked);
    }
    last_end = now;
    connection->phase = FREE;
    idle[idle_count++] = connection;
    if (!reusable || connection->answer.fault) {
        close(connection->fd);
        connection->fd = -1;
    }
}

static void ask(struct connection *connection)
{
    connection->phase = READING;
    answer_begin(&connection->answer, now_nanoseconds());
    ssize_t sent = send(connection->fd, request, request_bytes, MSG_NOSIGNAL);
    if (sent != (ssize_t)request_bytes) {
        blame(&connection->answer, CONNECT, "the request could not be sent", 29);
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
    int one = 1;
    started++;
    opening++;
    if (connection->fd >= 0) {
        ask(connection);
        return;
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->phase = CONNECTING;
    answer_begin(&connection->answer, 0);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int outcome = connect(connection->fd, (struct sockaddr *)&address, sizeof address);
    if (outcome == 0) {
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
        ask(connection);
    } else if (errno == EINPROGRESS) {
        watch(connection, EPOLL_CTL_ADD, EPOLLOUT);
    } else {
        blame(&connection->answer, CONNECT, strerror(errno), strlen(strerror(errno)));
        settle(connection, false);
    }
}

static void connected(struct connection *connection)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        blame(&connection->answer, CONNECT, strerror(error), strlen(strerror(error)));
        settle(connection, false);
        return;
    }
    watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    ask(connection);
}

/* A stream that has all its words and shall stay open makes room for the next to be opened. */
static void hold(struct connection *connection)
{
    if (options.hold && connection->phase == READING && connection->answer.words == expected.tokens) {
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
    } else if (got <= 0) {
        answer_close(&connection->answer);
        settle(connection, false);
    } else {
        reads++;
        received_bytes += (uint64_t)got;
        if (answer_feed(&connection->answer, buffer, (size_t)got))
            settle(connection, !connection->answer.closes);
        else
            hold(connection);
    }
}

/* ---- the load ---- */

static void write_request(void)
{
    static char body[2048], plan[200];
    sprintf(plan, "Tell me about streaming. bench:tokens=%u,gap=%lu,first=%lu,each=%u,stay=%d;", expected.tokens, options.gap,
            options.first, options.each, options.hold);
    int at = snprintf(body, sizeof body, "{\"model\":\"%s\",", options.model);
    at += snprintf(body + at, sizeof body - (size_t)at, expected.protocol->question, plan);
    if (expected.protocol->openai)
        at += snprintf(body + at, sizeof body - (size_t)at, ",\"max_tokens\":%u%s", expected.tokens,
                       expected.whole ? "" : ",\"stream_options\":{\"include_usage\":true}");
    snprintf(body + at, sizeof body - (size_t)at, ",\"stream\":%s}", expected.whole ? "false" : "true");
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
        case 'w': expected.whole = true; break;
        case 'n': expected.tokens = (uint32_t)number; break;
        case 'g': options.gap = number; break;
        case 'f': options.first = number; break;
        case 'e': options.each = (uint32_t)number; break;
        case 'h': options.hold = true; break;
        case 'd': options.deadline = (int)number; break;
        case 'P':
            expected.protocol = protocol_named(optarg);
            if (expected.protocol)
                break;
            fprintf(stderr, "client: no protocol %s; there are", optarg);
            for (size_t i = 0; i < PROTOCOLS; i++)
                fprintf(stderr, " %s", protocols[i].name);
            fprintf(stderr, "\n");
            exit(2);
        default: exit(2);
        }
    }
    if (!options.at_once || !options.streams || !expected.tokens || optind < count) {
        fprintf(stderr, "client: --at-once, --streams and --tokens are at least 1, and nothing stands without a name\n");
        exit(2);
    }
    if (expected.whole && !expected.protocol->whole_path) {
        fprintf(stderr, "client: %s is always streamed\n", expected.protocol->name);
        exit(2);
    }
    if (!options.path)
        options.path = expected.whole ? expected.protocol->whole_path : expected.protocol->path;
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
            return *next_start - now < A_WHILE ? *next_start - now : A_WHILE;
        *next_start += between_starts();
        start();
    }
    return A_WHILE;
}

static void give_up_the_rest(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (connections[i].phase != FREE && connections[i].phase != HELD) {
            blame(&connections[i].answer, UNFINISHED, "the deadline came first", 23);
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
    expected.tokens = 8;
    expected.protocol = &protocols[0];
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
