/* Says that the disk is full when a chosen file is written, after half of the first write to it.
 *
 * Loaded by LD_PRELOAD. FULL_DISK names the end of a path, or, with "*" at its end, the start of a file's name, of which
 * the FULL_DISK_WHICH-th is meant, from 0; FULL_DISK_HIT is a file that is made when it was met, and to FULL_DISK_LOG
 * every path is appended that is opened for writing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int ends_in(const char *path, const char *end) {
    size_t length = strlen(path), wanted = strlen(end);
    return wanted <= length && strcmp(path + length - wanted, end) == 0;
}

/* How many other files of the name that FULL_DISK gives were written before this one. */
static int count_before(const char *path) {
    static char seen[64][512];
    int number = 0;
    while (number < 63 && *seen[number] && strncmp(seen[number], path, 511) != 0) number++;
    snprintf(seen[number], sizeof seen[number], "%.511s", path);
    return number;
}

/* Whether what is open under `file` shall find the disk full. */
static int is_full(int file) {
    const char *wanted = getenv("FULL_DISK");
    char link[64], path[4096];
    if (!wanted || !*wanted) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    size_t stem = strlen(wanted) - 1;
    if (wanted[stem] == '*') {
        char start[4096];
        snprintf(start, sizeof start, "%.*s", (int)stem, wanted);
        const char *which = getenv("FULL_DISK_WHICH");
        if (!strstr(path, start) || count_before(path) != (which ? atoi(which) : 0)) return 0;
    } else if (!ends_in(path, wanted)) {
        return 0;
    }
    const char *hit = getenv("FULL_DISK_HIT");
    if (hit) {
        int made = REAL(open)(hit, O_WRONLY | O_CREAT, 0644);
        if (made >= 0) close(made);
    }
    return 1;
}

static ssize_t refuse(void) {
    errno = ENOSPC;
    return -1;
}

static __thread int halved = -1; /* the file of which half a write went through */

ssize_t write(int file, const void *data, size_t count) {
    if (!is_full(file)) return REAL(write)(file, data, count);
    if (halved == file || count < 2) {
        halved = -1;
        return refuse();
    }
    halved = file;
    return REAL(write)(file, data, count / 2);
}

ssize_t pwrite64(int file, const void *data, size_t count, off64_t place) {
    return is_full(file) ? refuse() : REAL(pwrite64)(file, data, count, place);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    return is_full(file) ? refuse() : REAL(writev)(file, parts, count);
}

ssize_t sendfile64(int out, int in, off64_t *place, size_t count) {
    return is_full(out) ? refuse() : REAL(sendfile64)(out, in, place, count);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned int flags) {
    return is_full(out) ? refuse() : REAL(copy_file_range)(in, from, out, to, count, flags);
}

static void note(const char *path, int flags) {
    const char *log = getenv("FULL_DISK_LOG");
    char line[8192], whole[4096] = "";
    if (!log || !path || (flags & O_ACCMODE) == O_RDONLY) return;
    if (path[0] != '/' && (!getcwd(whole, sizeof whole - 1) || !strcat(whole, "/"))) return;
    int file = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0) return;
    int length = snprintf(line, sizeof line, "%s%s\n", whole, path);
    if (length > 0 && REAL(write)(file, line, (size_t)length) < 0) perror(log);
    close(file);
}

#define OPENS(name, before, forwarded)                      \
    int name before {                                        \
        mode_t mode = 0;                                     \
        if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {              \
            va_list rest;                                    \
            va_start(rest, flags);                           \
            mode = va_arg(rest, mode_t);                     \
            va_end(rest);                                    \
        }                                                    \
        note(path, flags);                                   \
        return REAL(name) forwarded;                         \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPENS(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
