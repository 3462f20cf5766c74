/* A service that says lines, as fast as a pipe takes them, or one at a time.

   lines LENGTH MILLISECONDS          for so long, many lines at once
   lines LENGTH MILLISECONDS PAUSE    one write a line, PAUSE microseconds apart

   The pipe gets the pages of one buffer that never changes (vmsplice), so that saying costs next to
   nothing. LENGTH counts the newline. The number of bytes goes to descriptor 2 in the end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 20 };

static const char *const names[] = {"web", "db", "cron", "mail", "queue"};
static const char *const levels[] = {"info", "debug", "trace", "warn", "error", "info", "info"};
static const char *const texts[] = {"GET /static/a.css 200", "POST /item 201", "health ok", "ping",
                                    "took 17 ms, 3 rows", "retry in 5 s", "done"};

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Fills whole lines into the buffer; returns how many bytes. */
static size_t fill(char *buffer, size_t length) {
    size_t used = 0, lines = 0;
    for (; used + length <= ROOM; used += length, lines++) {
        char text[80];
        int n = snprintf(text, sizeof text, "%s: %s %s %zu ", names[lines % 5], levels[lines % 7],
                         texts[lines / 3 % 7], lines);
        memset(buffer + used, 'x', length);
        memcpy(buffer + used, text, (size_t)n < length ? (size_t)n : length);
        buffer[used + length - 1] = '\n';
    }
    return used;
}

static ssize_t say(char *bytes, size_t len, int singly) {
    struct iovec part = {bytes, len};
    ssize_t n = singly ? write(1, bytes, len) : vmsplice(1, &part, 1, 0);
    /* Not a pipe. */
    if (n == -1 && errno == EBADF && !singly) n = write(1, bytes, len);
    return n;
}

int main(int argc, char **argv) {
    static char buffer[ROOM] __attribute__((aligned(4096)));
    if (argc < 3) return 100;
    size_t length = strtoul(argv[1], 0, 10);
    uint64_t end = now() + strtoull(argv[2], 0, 10) * 1000000u, total = 0;
    long pause = argc > 3 ? strtol(argv[3], 0, 10) * 1000 : 0;
    if (length < 2 || length > ROOM) return 100;
    size_t used = fill(buffer, length), at = 0;
    while (at || now() < end) {
        ssize_t n = say(buffer + at, pause ? length : used - at, pause != 0);
        if (n <= 0) return 111;
        total += (uint64_t)n;
        at = (at + (size_t)n) % used;
        if (pause) {
            struct timespec rest = {0, pause};
            nanosleep(&rest, 0);
            if (now() >= end) break;
        }
    }
    fprintf(stderr, "%llu\n", (unsigned long long)total);
    return 0;
}
