/* The measured service: writes down when it started, then sleeps.
   One record of 24 bytes (see src/stamps.rs) is appended to ../../stamps, by one write. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    struct timespec now;
    struct stat here;
    struct { uint64_t nanoseconds, directory; uint32_t pid, unused; } record = {0, 0, 0, 0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    record.nanoseconds = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (stat(".", &here) == 0) record.directory = here.st_ino;
    record.pid = (uint32_t)getpid();
    int file = open("../../stamps", O_WRONLY | O_APPEND | O_CLOEXEC);
    if (write(file, &record, sizeof record) != sizeof record) return 111;
    close(file);
    for (;;) pause();
}
