/* An upstream that speaks OpenAI chat completions and makes numbered words instead of thinking.
 *
 *     gcc -O2 -o simulator simulator.c
 *     ./simulator PORT        (0: the system chooses; the port is printed on the first line)
 *
 * What to send stands in the request's text; plan.h says how.
 * A request that is not streamed is answered at the moment in which the stream would have ended, with the same words.
 * Single thread, epoll. A stream keeps to its schedule: after a delay it catches up, it does not slow down.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"
#include "plan.h"
#include "words.h"

#define MOST_REQUEST_BYTES (8 << 20)
#define NOWHERE (-1)

enum phase { IDLE, PACED, FLOODING, BLOCKED };

struct connection {
    int fd;
    enum phase phase;
    bool keep, dead;
    uint32_t watched;
    struct plan plan;
    uint32_t sent; /* words; one more once the end is sent too */
    uint64_t due;
    int place; /* in the schedule or among the flooding, NOWHERE if in neither */
    char *request;
    size_t request_bytes, request_room;
    char *rest; /* what the socket did not take */
    size_t rest_at, rest_bytes;
    struct connection *next_dead;
};

static int poller;
static struct connection *graves;
static struct connection **schedule, **flooding; /* a heap by due time; a plain list */
static int scheduled, flooders, schedule_room, flooding_room;

/* ---- the schedule: a binary heap with the earliest due time on top ---- */

static void schedule_put(int place, struct connection *connection)
{
    schedule[place] = connection;
    connection->place = place;
}

static void schedule_rise(int place)
{
    struct connection *moved = schedule[place];
    for (; place > 0 && schedule[(place - 1) / 2]->due > moved->due; place = (place - 1) / 2)
        schedule_put(place, schedule[(place - 1) / 2]);
    schedule_put(place, moved);
}

static void schedule_sink(int place)
{
    struct connection *moved = schedule[place];
    for (;;) {
        int child = 2 * place + 1;
        if (child + 1 < scheduled && schedule[child + 1]->due < schedule[child]->due)
            child++;
        if (child >= scheduled || schedule[child]->due >= moved->due)
            break;
        schedule_put(place, schedule[child]);
        place = child;
    }
    schedule_put(place, moved);
}

static struct connection **with_room(struct connection **list, int used, int *room)
{
    if (used < *room)
        return list;
    *room = *room ? *room * 2 : 1024;
    list = realloc(list, (size_t)*room * sizeof *list);
    if (!list)
        abort();
    return list;
}

static void schedule_add(struct connection *connection)
{
    schedule = with_room(schedule, scheduled, &schedule_room);
    connection->phase = PACED;
    schedule_put(scheduled++, connection);
    schedule_rise(connection->place);
}

static void flood_add(struct connection *connection)
{
    flooding = with_room(flooding, flooders, &flooding_room);
    connection->phase = FLOODING;
    connection->place = flooders;
    flooding[flooders++] = connection;
}

/* Takes the connection out of the schedule or out of the flooding, whichever it is in. */
static void unplan(struct connection *connection)
{
    int place = connection->place;
    if (place == NOWHERE)
        return;
    connection->place = NOWHERE;
    if (connection->phase == PACED) {
        if (place != --scheduled) {
            schedule_put(place, schedule[scheduled]);
            schedule_rise(place);
            schedule_sink(schedule[place]->place);
        }
    } else if (place != --flooders) {
        flooding[place] = flooding[flooders];
        flooding[place]->place = place;
    }
}

/* ---- connections ---- */

static void watch(struct connection *connection, uint32_t events)
{
    if (connection->watched == events)
        return;
    connection->watched = events;
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event);
}

static void hang_up(struct connection *connection)
{
    if (connection->dead)
        return;
    unplan(connection);
    close(connection->fd);
    connection->dead = true;
    connection->next_dead = graves; /* freed after the batch: later events of the same batch may still name it */
    graves = connection;
}

static void bury(void)
{
    while (graves) {
        struct connection *connection = graves;
        graves = connection->next_dead;
        free(connection->request);
        free(connection->rest);
        free(connection);
    }
}

/* Sends; what the socket does not take now is kept, and the connection is BLOCKED until it has gone. */
static bool send_bytes(struct connection *connection, const char *bytes, size_t count)
{
    while (count) {
        ssize_t taken = send(connection->fd, bytes, count, MSG_NOSIGNAL);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0 && errno == EAGAIN) {
            connection->rest = malloc(count);
            if (!connection->rest)
                abort();
            memcpy(connection->rest, bytes, count);
            connection->rest_at = 0;
            connection->rest_bytes = count;
            unplan(connection);
            connection->phase = BLOCKED;
            watch(connection, EPOLLOUT | EPOLLRDHUP);
            return false;
        }
        if (taken < 0) {
            hang_up(connection);
            return false;
        }
        bytes += taken;
        count -= (size_t)taken;
    }
    return true;
}

/* ---- requests ---- */

static void answer_next(struct connection *connection);

static void finish(struct connection *connection)
{
    unplan(connection);
    connection->phase = IDLE;
    if (!connection->keep) {
        hang_up(connection);
        return;
    }
    watch(connection, EPOLLIN | EPOLLRDHUP);
    answer_next(connection);
}

/* Sends what is due now: some words, or the end. Called by the schedule and by the flooding. */
static void advance(struct connection *connection)
{
    struct plan *plan = &connection->plan;
    size_t bytes = 0;
    if (!plan->streamed) {
        connection->sent = plan->tokens + 1;
        bytes = write_whole(plan);
    } else if (connection->sent < plan->tokens) {
        uint64_t stamp = now_nanoseconds();
        for (uint32_t i = 0; i < plan->each && connection->sent < plan->tokens; i++, bytes += token_bytes) {
            memcpy(scratch + bytes, token_frame, token_bytes);
            word_write(scratch + bytes + token_word_at, connection->sent++, stamp);
        }
    } else {
        connection->sent = plan->tokens + 1;
        bytes = write_end(scratch, plan);
    }
    if (connection->phase == PACED) {
        connection->due += plan->gap;
        schedule_sink(connection->place);
    }
    if (!send_bytes(connection, scratch, bytes))
        return;
    if (connection->sent > plan->tokens)
        finish(connection);
    else if (plan->stay && connection->sent == plan->tokens)
        unplan(connection);
}

static void carry_on(struct connection *connection)
{
    if (connection->sent > connection->plan.tokens)
        finish(connection);
    else if (connection->plan.stay && connection->sent == connection->plan.tokens)
        connection->phase = PACED; /* open, and in no list */
    else if (connection->plan.gap || !connection->sent)
        schedule_add(connection);
    else
        flood_add(connection);
}

/* The socket takes bytes again. */
static void unblock(struct connection *connection)
{
    char *rest = connection->rest;
    size_t at = connection->rest_at, count = connection->rest_bytes - at;
    ssize_t taken = send(connection->fd, rest + at, count, MSG_NOSIGNAL);
    if (taken < 0) {
        if (errno != EAGAIN && errno != EINTR)
            hang_up(connection);
        return;
    }
    connection->rest_at += (size_t)taken;
    if (connection->rest_at < connection->rest_bytes)
        return;
    free(rest);
    connection->rest = NULL;
    watch(connection, EPOLLIN | EPOLLRDHUP);
    carry_on(connection);
}

static void refuse(struct connection *connection, const char *status, const char *body)
{
    size_t bytes = (size_t)sprintf(scratch, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                   status, strlen(body), body);
    connection->plan = (struct plan){0};
    connection->sent = 1;
    if (send_bytes(connection, scratch, bytes))
        finish(connection);
}

static void answer(struct connection *connection, const char *body, size_t bytes)
{
    struct plan plan = connection->plan = read_plan(body, bytes);
    connection->sent = 0;
    /* A whole answer takes as long as the stream: one gap per write, one more before the end. */
    uint64_t writes = plan.streamed ? 0 : (plan.tokens + plan.each - 1) / plan.each;
    uint64_t wait = plan.first + writes * plan.gap;
    connection->due = now_nanoseconds() + wait;
    if (plan.streamed && !send_bytes(connection, opening, opening_bytes))
        return;
    if (wait || plan.gap)
        schedule_add(connection);
    else if (plan.streamed)
        flood_add(connection);
    else
        advance(connection);
}

/* Answers the next request if it has come whole. */
static void answer_next(struct connection *connection)
{
    if (connection->dead || connection->phase != IDLE || !connection->request_bytes)
        return;
    char *request = connection->request;
    request[connection->request_bytes] = 0;
    char *blank = memmem(request, connection->request_bytes, "\r\n\r\n", 4);
    if (!blank)
        return;
    *blank = 0;
    const char *length = strcasestr(request, "\r\ncontent-length:");
    bool chunked = strcasestr(request, "\r\ntransfer-encoding:") != NULL;
    size_t head = (size_t)(blank - request) + 4, body = length ? strtoull(length + 17, NULL, 10) : 0;
    connection->keep = !strcasestr(request, "\r\nconnection: close") && !strstr(request, " HTTP/1.0");
    bool reading = strncmp(request, "GET ", 4) == 0 || strncmp(request, "HEAD ", 5) == 0;
    *blank = '\r';
    if (connection->request_bytes < head + body)
        return;
    char *taken = malloc(body + 1);
    if (!taken)
        abort();
    memcpy(taken, request + head, body);
    taken[body] = 0;
    connection->request_bytes -= head + body;
    memmove(request, request + head + body, connection->request_bytes);
    if (chunked) {
        connection->keep = false;
        refuse(connection, "411 Length Required", "{\"error\":{\"message\":\"send Content-Length\"}}");
    } else if (reading) {
        refuse(connection, "200 OK", "{\"object\":\"list\",\"data\":[{\"id\":\"sim\",\"object\":\"model\"}]}");
    } else {
        answer(connection, taken, body);
    }
    free(taken);
}

static void take_request(struct connection *connection)
{
    if (connection->request_room - connection->request_bytes < 4096) {
        connection->request_room = connection->request_room ? connection->request_room * 2 : 8192;
        connection->request = realloc(connection->request, connection->request_room + 1);
        if (!connection->request)
            abort();
    }
    ssize_t got = recv(connection->fd, connection->request + connection->request_bytes,
                       connection->request_room - connection->request_bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0 || connection->request_bytes + (size_t)got > MOST_REQUEST_BYTES) {
        hang_up(connection);
        return;
    }
    connection->request_bytes += (size_t)got;
    answer_next(connection);
}

/* ---- the loop ---- */

static void greet(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK), one = 1;
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection)
            abort();
        connection->fd = fd;
        connection->place = NOWHERE;
        connection->watched = EPOLLIN | EPOLLRDHUP;
        struct epoll_event event = {.events = connection->watched, .data.ptr = connection};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static int open_listener(int port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 8192) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        perror("simulator: cannot listen");
        exit(1);
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static int wait_for_events(struct epoll_event *events, int room)
{
    struct timespec wait = {0}, *until = &wait;
    if (!flooders && scheduled) {
        uint64_t now = now_nanoseconds(), due = schedule[0]->due, left = due > now ? due - now : 0;
        /* The kernel lets a long wait run over by a thousandth of itself: most of it first, then the rest. */
        if (left > 10000000u)
            left -= left / 16;
        wait = (struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    } else if (!flooders) {
        until = NULL;
    }
    return epoll_pwait2(poller, events, room, until, NULL);
}

int main(int count, char **arguments)
{
    static struct epoll_event events[512];
    signal(SIGPIPE, SIG_IGN);
    prepare_frames();
    poller = epoll_create1(0);
    int listener = open_listener(count > 1 ? atoi(arguments[1]) : 0);
    struct epoll_event greeting = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &greeting);
    for (;;) {
        int ready = wait_for_events(events, 512);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection)
                greet(listener);
            else if (connection->dead)
                continue;
            else if (events[i].events & (EPOLLERR | EPOLLHUP))
                hang_up(connection);
            else if (events[i].events & EPOLLIN)
                take_request(connection);
            else if (events[i].events & EPOLLRDHUP)
                hang_up(connection);
            else if (events[i].events & EPOLLOUT)
                unblock(connection);
        }
        for (int i = flooders - 1; i >= 0; i--)
            if (i < flooders) /* advancing one may take several out of the list */
                advance(flooding[i]);
        uint64_t now = scheduled ? now_nanoseconds() : 0;
        while (scheduled && schedule[0]->due <= now) {
            struct connection *connection = schedule[0];
            if (connection->plan.streamed && !connection->plan.gap) { /* it waited for its first word only */
                unplan(connection);
                flood_add(connection);
            } else {
                advance(connection);
            }
        }
        bury();
    }
}
