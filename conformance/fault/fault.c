/* Faults of a disk, between a process and the C library: preload this, and the N-th change below a directory goes wrong.
 *
 * FAULT_DIR    the directory; what lies elsewhere is left alone
 * FAULT_TRACE  a file elsewhere to which every change is appended: "number kind place path"
 * FAULT_AT     the number of the change that goes wrong, from 1; 0 or absent: none
 * FAULT_KIND   error        it fails and is not done
 *              error-done   it is done and fails
 *              torn         the first half of a write is done, then the process is killed
 *              kill-before  the process is killed before it
 *              kill-after   the process is killed after it
 *              no-space     from it on everything that needs space fails, until FAULT_SPACE exists
 * FAULT_SPACE  a file elsewhere
 * FAULT_FROM   a file elsewhere: changes before it exists are not counted; absent: all are
 *
 * Changes are: create, mkdir, write, rewrite (a write to a place), truncate, rename, remove, sync. Syncs are counted and not carried out: a killed
 * process loses nothing that it gave to the kernel, so they would only take time. What a power failure does to data that
 * was not synced is therefore not shown by the faults but by the trace: see the test.
 *
 * System calls made past the C library are not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum verdict { PASS, FAIL, FAIL_DONE, HALF, KILL_AFTER };

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static long counted;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int below(const char *path) {
    const char *dir = getenv("FAULT_DIR");
    size_t length = dir ? strlen(dir) : 0;
    return length && path && !strncmp(path, dir, length) && (path[length] == '/' || !path[length]);
}

/* The path behind a descriptor; empty when there is none. */
static const char *path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return path;
}

/* A path relative to a directory's descriptor. */
static const char *path_at(int fd, const char *name, char *path) {
    if (name[0] == '/' || fd == AT_FDCWD) return name;
    path_of(fd, path);
    size_t length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "/%s", name);
    return path;
}

/* Counts a change and says what becomes of it. The kind "sync" and "remove" need no space. */
static enum verdict judge(const char *kind, long place, const char *path) {
    const char *from = getenv("FAULT_FROM");
    if (!below(path) || (from && access(from, F_OK))) return PASS;
    const char *at = getenv("FAULT_AT"), *how = getenv("FAULT_KIND"), *trace = getenv("FAULT_TRACE");
    pthread_mutex_lock(&turn);
    long number = ++counted;
    if (trace) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%ld %s %ld %s\n", number, kind, place, path);
        int fd = REAL(open)(trace, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd < 0 || REAL(write)(fd, line, (size_t)length) != length) abort();
        close(fd);
    }
    pthread_mutex_unlock(&turn);
    long wanted = at ? atol(at) : 0;
    if (!wanted || !how || number < wanted) return PASS;
    if (!strcmp(how, "no-space")) {
        const char *space = getenv("FAULT_SPACE");
        if (!strcmp(kind, "sync") || !strcmp(kind, "remove") || (space && !access(space, F_OK))) return PASS;
        errno = ENOSPC;
        return FAIL;
    }
    if (number != wanted) return PASS;
    errno = EIO;
    if (!strcmp(how, "error")) return FAIL;
    if (!strcmp(how, "error-done")) return FAIL_DONE;
    if (!strcmp(how, "torn")) return HALF;
    if (!strcmp(how, "kill-before")) end();
    if (!strcmp(how, "kill-after")) return KILL_AFTER;
    abort();
}

/* Carries out a change that is whole or not at all. */
#define WHOLE(kind, path, call)                     \
    do {                                            \
        enum verdict verdict = judge(kind, 0, path); \
        if (verdict == FAIL) return -1;             \
        long done = (call);                         \
        if (verdict == FAIL_DONE) {                 \
            errno = EIO;                            \
            return -1;                              \
        }                                           \
        if (verdict == HALF || verdict == KILL_AFTER) end(); \
        return done;                                \
    } while (0)

/* Carries out a write of LENGTH bytes; HALF_CALL writes the first half of them. */
#define WRITE(kind, place, fd, call, half_call)     \
    do {                                            \
        char where[PATH_MAX];                       \
        enum verdict verdict = judge(kind, place, path_of(fd, where)); \
        if (verdict == FAIL) return -1;             \
        if (verdict == HALF) {                      \
            ssize_t half = (half_call);             \
            (void)half;                             \
            end();                                  \
        }                                           \
        ssize_t done = (call);                      \
        if (verdict == FAIL_DONE) {                 \
            errno = EIO;                            \
            return -1;                              \
        }                                           \
        if (verdict == KILL_AFTER) end();           \
        return done;                                \
    } while (0)

ssize_t write(int fd, const void *from, size_t n) {
    WRITE("write", 0, fd, REAL(write)(fd, from, n), REAL(write)(fd, from, n / 2));
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
    WRITE("rewrite", (long)at, fd, REAL(pwrite)(fd, from, n, at), REAL(pwrite)(fd, from, n / 2, at));
}

ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) {
    WRITE("rewrite", (long)at, fd, REAL(pwrite64)(fd, from, n, at), REAL(pwrite64)(fd, from, n / 2, at));
}

ssize_t writev(int fd, const struct iovec *parts, int n) {
    WRITE("write", 0, fd, REAL(writev)(fd, parts, n), REAL(write)(fd, parts[0].iov_base, parts[0].iov_len / 2));
}

/* Whether a path is about to be made by an open. */
static int makes(const char *path, int flags) {
    return (flags & O_CREAT) && below(path) && access(path, F_OK) != 0;
}

#define OPEN(name)                                                         \
    int name(const char *path, int flags, ...) {                           \
        mode_t mode = 0;                                                   \
        if (flags & (O_CREAT | O_TMPFILE)) {                               \
            va_list rest;                                                  \
            va_start(rest, flags);                                         \
            mode = va_arg(rest, mode_t);                                   \
            va_end(rest);                                                  \
        }                                                                  \
        if (!makes(path, flags)) return REAL(name)(path, flags, mode);     \
        WHOLE("create", path, REAL(name)(path, flags, mode));              \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                       \
    int name(int dir, const char *path, int flags, ...) {                  \
        mode_t mode = 0;                                                   \
        if (flags & (O_CREAT | O_TMPFILE)) {                               \
            va_list rest;                                                  \
            va_start(rest, flags);                                         \
            mode = va_arg(rest, mode_t);                                   \
            va_end(rest);                                                  \
        }                                                                  \
        char where[PATH_MAX];                                              \
        const char *full = path_at(dir, path, where);                      \
        if (!makes(full, flags)) return REAL(name)(dir, path, flags, mode); \
        WHOLE("create", full, REAL(name)(dir, path, flags, mode));         \
    }
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) { WHOLE("mkdir", path, REAL(mkdir)(path, mode)); }
int rmdir(const char *path) { WHOLE("remove", path, REAL(rmdir)(path)); }
int unlink(const char *path) { WHOLE("remove", path, REAL(unlink)(path)); }

int unlinkat(int dir, const char *path, int flags) {
    char where[PATH_MAX];
    WHOLE("remove", path_at(dir, path, where), REAL(unlinkat)(dir, path, flags));
}

int rename(const char *from, const char *to) { WHOLE("rename", to, REAL(rename)(from, to)); }

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    char where[PATH_MAX];
    WHOLE("rename", path_at(to_dir, to, where), REAL(renameat)(from_dir, from, to_dir, to));
}

int ftruncate(int fd, off_t length) {
    char where[PATH_MAX];
    WHOLE("truncate", path_of(fd, where), REAL(ftruncate)(fd, length));
}

int ftruncate64(int fd, off64_t length) {
    char where[PATH_MAX];
    WHOLE("truncate", path_of(fd, where), REAL(ftruncate64)(fd, length));
}

#define SYNC(name)                                                         \
    int name(int fd) {                                                     \
        char where[PATH_MAX];                                              \
        int ours = below(path_of(fd, where));                              \
        WHOLE("sync", where, ours ? 0 : REAL(name)(fd));                   \
    }
SYNC(fsync)
SYNC(fdatasync)
