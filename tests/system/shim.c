/* A disk that forgets and fails as told, between a hub and its files.  Loaded with LD_PRELOAD; see shim.py.

   SHIM_DIR     folder whose files are watched
   SHIM_SHADOW  folder that gets what is on disk for sure: bytes when their file was synced, names when their folder was
   SHIM_COUNT   file of 8 bytes, the number of watched calls so far
   SHIM_FAIL_AT number of the call that fails
   SHIM_HOW     EIO, ENOSPC, or short (a write that takes half of the bytes)
   SHIM_ON      1 when all calls after it fail too
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t of_process;
static char dir[PATH_MAX], shadow[PATH_MAX];
static size_t dir_length;
static volatile uint64_t *count;
static uint64_t private_count, fail_at;
static int how, go_on;
enum { SHORT = -1 };

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int), (*real_fdatasync)(int), (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *), (*real_unlink)(const char *);

/* Written since the last sync of its file. */
struct range { char path[256]; off_t at; size_t length; };
static struct range *dirty;
static size_t dirty_count, dirty_room;
/* Renamed or removed (to is empty) since the last sync of the folder. */
struct naming { char from[PATH_MAX], to[PATH_MAX]; };
static struct naming *namings;
static size_t naming_count, naming_room;

static void set_up(void) {
    of_process = getpid();
    if (!real_write) {
        real_write = dlsym(RTLD_NEXT, "write");
        real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
        real_fsync = dlsym(RTLD_NEXT, "fsync");
        real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
        real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
        real_rename = dlsym(RTLD_NEXT, "rename");
        real_unlink = dlsym(RTLD_NEXT, "unlink");
    }
    const char *value = getenv("SHIM_DIR");
    snprintf(dir, sizeof dir, "%s", value ? value : "");
    dir_length = strlen(dir);
    snprintf(shadow, sizeof shadow, "%s", (value = getenv("SHIM_SHADOW")) ? value : "");
    fail_at = (value = getenv("SHIM_FAIL_AT")) ? strtoull(value, NULL, 10) : 0;
    go_on = getenv("SHIM_ON") != NULL;
    value = getenv("SHIM_HOW");
    how = !value ? EIO : !strcmp(value, "ENOSPC") ? ENOSPC : !strcmp(value, "short") ? SHORT : EIO;
    count = &private_count;
    private_count = 0;
    if ((value = getenv("SHIM_COUNT")) != NULL) {
        int handle = open(value, O_RDWR);
        void *page = handle < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
        if (page != MAP_FAILED) count = page;
        if (handle >= 0) close(handle);
    }
    dirty_count = naming_count = 0;
}

/* True when the path is watched; what is in memory only (-shm) and locks are not. */
static int is_watched(const char *path) {
    size_t length = strlen(path);
    if (!dir_length || strncmp(path, dir, dir_length)) return 0;
    if (length > 4 && (!strcmp(path + length - 4, "-shm") || !strcmp(path + length - 5, ".lock"))) return 0;
    return 1;
}

static int path_of(int handle, char *path) {
    char link[64];
    if (of_process != getpid()) set_up();
    if (!dir_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_watched(path);
}

/* Counts a call; true when it is to fail. */
static int fails(void) {
    uint64_t number = __sync_add_and_fetch(count, 1);
    return fail_at && (number == fail_at || (go_on && number > fail_at));
}

static void remember(const char *path, off_t at, size_t length) {
    if (!*shadow) return;
    pthread_mutex_lock(&lock);
    if (dirty_count == dirty_room) {
        dirty_room = dirty_room ? dirty_room * 2 : 256;
        dirty = realloc(dirty, dirty_room * sizeof *dirty);
    }
    snprintf(dirty[dirty_count].path, sizeof dirty->path, "%s", path + dir_length);
    dirty[dirty_count].at = at;
    dirty[dirty_count++].length = length;
    pthread_mutex_unlock(&lock);
}

static void remember_name(const char *from, const char *to) {
    if (!*shadow) return;
    pthread_mutex_lock(&lock);
    if (naming_count == naming_room) {
        naming_room = naming_room ? naming_room * 2 : 16;
        namings = realloc(namings, naming_room * sizeof *namings);
    }
    snprintf(namings[naming_count].from, PATH_MAX, "%s", from);
    snprintf(namings[naming_count++].to, PATH_MAX, "%s", to);
    pthread_mutex_unlock(&lock);
}

static void in_shadow(const char *path, char *found) {
    size_t length = strlen(shadow);
    memcpy(found, shadow, length);
    strncpy(found + length, path + dir_length, PATH_MAX - length - 1);
    found[PATH_MAX - 1] = 0;
}

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
}

/* What was written to the file since its last sync is on disk now. */
static void is_on_disk(int handle, const char *path) {
    char copy[PATH_MAX], bytes[65536];
    struct stat status;
    if (!*shadow || fstat(handle, &status)) return;
    in_shadow(path, copy);
    pthread_mutex_lock(&lock);
    if (S_ISDIR(status.st_mode)) {
        size_t kept = 0, length = strlen(path);
        for (size_t i = 0; i < naming_count; i++) {
            const char *name = *namings[i].to ? namings[i].to : namings[i].from;
            if (strncmp(name, path, length) || name[length] != '/' || strchr(name + length + 1, '/')) {
                namings[kept++] = namings[i];
                continue;
            }
            char from[PATH_MAX], to[PATH_MAX];
            in_shadow(namings[i].from, from);
            if (*namings[i].to) {
                in_shadow(namings[i].to, to);
                real_rename(from, to);
            } else {
                real_unlink(from);
            }
        }
        naming_count = kept;
        pthread_mutex_unlock(&lock);
        return;
    }
    /* A file that was removed and is there again under its name: the sync of the new one ends the old one too. */
    for (size_t i = 0; i < naming_count; i++) {
        if (*namings[i].to || strcmp(namings[i].from, path)) continue;
        real_unlink(copy);
        namings[i] = namings[--naming_count];
        break;
    }
    int out = open(copy, O_WRONLY | O_CREAT, 0600);
    if (out < 0) {
        make_folders(copy);
        out = open(copy, O_WRONLY | O_CREAT, 0600);
    }
    /* The file of a database must not be opened here: closing it would give up the locks SQLite has on it. */
    int flags = fcntl(handle, F_GETFL), own = (flags & O_ACCMODE) == O_WRONLY;
    int in = own ? open(path, O_RDONLY) : handle;
    size_t kept = 0;
    for (size_t i = 0; i < dirty_count; i++) {
        if (strcmp(dirty[i].path, path + dir_length)) {
            dirty[kept++] = dirty[i];
            continue;
        }
        off_t at = dirty[i].at, end = at + (off_t)dirty[i].length;
        while (at < end) {
            size_t most = (size_t)(end - at) < sizeof bytes ? (size_t)(end - at) : sizeof bytes;
            ssize_t got = pread(in, bytes, most, at);
            if (got <= 0) break;
            real_pwrite(out, bytes, (size_t)got, at);
            at += got;
        }
    }
    dirty_count = kept;
    real_ftruncate(out, status.st_size);
    if (own) close(in);
    close(out);
    pthread_mutex_unlock(&lock);
}

ssize_t write(int handle, const void *bytes, size_t length) {
    char path[PATH_MAX];
    if (!path_of(handle, path)) return real_write(handle, bytes, length);
    if (fails()) {
        if (how != SHORT) { errno = how; return -1; }
        length = length > 1 ? length / 2 : length;
    }
    off_t at = lseek(handle, 0, SEEK_CUR);
    ssize_t written = real_write(handle, bytes, length);
    if (written > 0) remember(path, at, (size_t)written);
    return written;
}

ssize_t pwrite64(int handle, const void *bytes, size_t length, off_t at) {
    char path[PATH_MAX];
    if (!path_of(handle, path)) return real_pwrite(handle, bytes, length, at);
    if (fails()) {
        if (how != SHORT) { errno = how; return -1; }
        length = length > 1 ? length / 2 : length;
    }
    ssize_t written = real_pwrite(handle, bytes, length, at);
    if (written > 0) remember(path, at, (size_t)written);
    return written;
}
ssize_t pwrite(int handle, const void *bytes, size_t length, off_t at) { return pwrite64(handle, bytes, length, at); }

static int sync_with(int handle, int (*sync)(int)) {
    char path[PATH_MAX];
    if (!path_of(handle, path)) return sync(handle);
    if (fails() && how != SHORT) { errno = how; return -1; }
    int result = sync(handle);
    if (!result) is_on_disk(handle, path);
    return result;
}
int fsync(int handle) {
    if (of_process != getpid()) set_up();
    return sync_with(handle, real_fsync);
}
int fdatasync(int handle) {
    if (of_process != getpid()) set_up();
    return sync_with(handle, real_fdatasync);
}

int ftruncate64(int handle, off_t length) {
    char path[PATH_MAX];
    if (!path_of(handle, path)) return real_ftruncate(handle, length);
    if (fails() && how != SHORT) { errno = how; return -1; }
    return real_ftruncate(handle, length);
}
int ftruncate(int handle, off_t length) { return ftruncate64(handle, length); }

int rename(const char *from, const char *to) {
    if (of_process != getpid()) set_up();
    if (!is_watched(to)) return real_rename(from, to);
    if (fails() && how != SHORT) { errno = how; return -1; }
    int result = real_rename(from, to);
    if (!result) remember_name(from, to);
    return result;
}

int unlink(const char *path) {
    if (of_process != getpid()) set_up();
    int result = real_unlink(path);
    if (!result && is_watched(path)) remember_name(path, "");
    return result;
}
