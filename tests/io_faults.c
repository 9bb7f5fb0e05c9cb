/* SPDX-License-Identifier: Apache-2.0 */
/* A library for LD_PRELOAD that lets one I/O call fail. It counts the calls that concern files below $IO_FAULT_FOLDER.
 *
 *   IO_FAULT_LOG=FILE   writes the name of each counted call to FILE, one a line
 *   IO_FAULT_CALL=N     lets the N-th counted call, from 1, fail as IO_FAULT_KIND says:
 *   IO_FAULT_KIND       a number (the value of errno), "short" (one byte is transferred), "end" (read gives 0), or
 *                       "signal NUMBER": SIGTERM comes before the call, which fails unless NUMBER is 0
 */
#undef _FILE_OFFSET_BITS /* it would rename the calls of 32 bits to those of 64 */
#undef _FORTIFY_SOURCE   /* it would define some of these calls in line */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum fault { none, error, one_byte, end };

static atomic_int calls;

static int is_below(const char *path) {
    const char *folder = getenv("IO_FAULT_FOLDER");
    return path && folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int concerns(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return is_below(path);
}

/* Counts a call that concerns the folder; says whether and how it fails. Sets errno if it fails. */
static enum fault count(int counted, const char *name) {
    if (!counted) return none;
    const int n = atomic_fetch_add(&calls, 1) + 1;
    const char *log = getenv("IO_FAULT_LOG"), *call = getenv("IO_FAULT_CALL"), *kind = getenv("IO_FAULT_KIND");
    if (log) {
        FILE *file = fopen(log, "a");
        if (file) fprintf(file, "%s\n", name), fclose(file);
    }
    if (!call || !kind || atoi(call) != n) return none;
    if (!strcmp(kind, "short")) return one_byte;
    if (!strcmp(kind, "end")) return end;
    const int with_signal = !strncmp(kind, "signal ", 7);
    if (with_signal) raise(SIGTERM);
    const int number = atoi(kind + (with_signal ? 7 : 0));
    if (!number) return none;
    errno = number;
    return error;
}

/* The system's function of this name. ISO C has no conversion from an object pointer; POSIX demands it of dlsym. */
#define NEXT(name) (__extension__(__typeof__(&name)) dlsym(RTLD_NEXT, #name))

/* Both names of a call whose offsets have 64 bits on this system. */
#define OPEN(name)                                                                    \
    int name(const char *path, int flags, ...) {                                      \
        va_list list;                                                                 \
        va_start(list, flags);                                                        \
        const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list);                                                                 \
        if (count(is_below(path), flags & O_CREAT ? "create" : "open")) return -1;    \
        return NEXT(name)(path, flags, mode);                                         \
    }
OPEN(open)
OPEN(open64)

#define FOPEN(name)                                                                    \
    FILE *name(const char *path, const char *mode) {                                   \
        if (count(is_below(path), strchr(mode, 'w') ? "create" : "open")) return NULL; \
        return NEXT(name)(path, mode);                                                 \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define PREAD(name)                                                  \
    ssize_t name(int fd, void *data, size_t bytes, off_t position) { \
        const enum fault fault = count(concerns(fd), "read");        \
        if (fault == error) return -1;                               \
        if (fault == end) return 0;                                  \
        return NEXT(name)(fd, data, fault ? 1 : bytes, position);    \
    }
PREAD(pread)
PREAD(pread64)

ssize_t read(int fd, void *data, size_t bytes) {
    const enum fault fault = count(concerns(fd), "read");
    if (fault == error) return -1;
    if (fault == end) return 0;
    return NEXT(read)(fd, data, fault ? 1 : bytes);
}

ssize_t write(int fd, const void *data, size_t bytes) {
    const enum fault fault = count(concerns(fd), "write");
    if (fault == error) return -1;
    return NEXT(write)(fd, data, fault ? 1 : bytes);
}

#define MMAP(name)                                                                        \
    void *name(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) { \
        if (!(flags & MAP_ANONYMOUS) && count(concerns(fd), "map")) return MAP_FAILED;    \
        return NEXT(name)(at, bytes, protection, flags, fd, offset);                      \
    }
MMAP(mmap)
MMAP(mmap64)

#define FSTAT(name, type)                                                  \
    int name(int fd, struct type *info) {                                  \
        return count(concerns(fd), "examine") ? -1 : NEXT(name)(fd, info); \
    }
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

int fsync(int fd) {
    return count(concerns(fd), "sync") ? -1 : NEXT(fsync)(fd);
}

int rename(const char *from, const char *to) {
    return count(is_below(to), "rename") ? -1 : NEXT(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    return count(is_below(path), "mkdir") ? -1 : NEXT(mkdir)(path, mode);
}
