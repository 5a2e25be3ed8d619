// Preloaded into a program: the n-th call of a class fails.
//   FAIL_CLASS   write | file | memory | sandbox
//   FAIL_NTH     which call, from 1; FAIL_STICKY=1: and all after it
//   FAIL_HOW     an errno, "short" (half is written) or "kill"
//   FAIL_REACHED a file whose first byte is 1 when the n-th call was reached;
//                it is mapped, since a sandbox lets nobody write to it later
#define _GNU_SOURCE
#undef _FILE_OFFSET_BITS  // open and open64 are two names here
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;
static long nth;
static int sticky, is_short, is_kill, failure;
static char class_of_call;  // its first letter
static char* reached;       // set to 1 at the n-th call

static void map_reached(const char* path) {
  if (path == NULL) return;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR);
  void* at = (void*)syscall(SYS_mmap, NULL, 1, PROT_READ | PROT_WRITE,
                            MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) reached = at;
  syscall(SYS_close, fd);
}

__attribute__((constructor)) static void start(void) {
  const char* text = getenv("FAIL_CLASS");
  const char* how = getenv("FAIL_HOW");
  if (text == NULL || how == NULL) return;
  sticky = getenv("FAIL_STICKY") != NULL;
  is_short = strcmp(how, "short") == 0;
  is_kill = strcmp(how, "kill") == 0;
  failure = atoi(how);
  nth = atol(getenv("FAIL_NTH"));
  map_reached(getenv("FAIL_REACHED"));
  class_of_call = text[0];
}

static int fails(char call) {
  if (call != class_of_call) return 0;
  const long number = ++calls;
  if (number != nth && !(sticky && number > nth)) return 0;
  if (number == nth && reached != NULL) *reached = 1;
  if (is_kill) kill(getpid(), SIGKILL);
  errno = failure;
  return 1;
}

#define REAL(type, name, ...) \
  type (*real)(__VA_ARGS__);  \
  *(void**)&real = dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void* data, size_t size) {
  REAL(ssize_t, "write", int, const void*, size_t);
  if (fd > 2 && fails('w')) {
    if (!is_short) return -1;
    size = (size + 1) / 2;
  }
  return real(fd, data, size);
}

ssize_t pwrite(int fd, const void* data, size_t size, off_t at) {
  REAL(ssize_t, "pwrite", int, const void*, size_t, off_t);
  if (fails('w')) {
    if (!is_short) return -1;
    size = (size + 1) / 2;
  }
  return real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void* data, size_t size, off_t at) {
  return pwrite(fd, data, size, at);
}

#define FAILING(letter, type, name, parameters, arguments, ...) \
  type name parameters {                                        \
    REAL(type, #name, __VA_ARGS__);                             \
    if (!is_short && fails(letter)) return (type)-1;            \
    return real arguments;                                      \
  }

FAILING('w', int, fsync, (int fd), (fd), int)
FAILING('w', int, ftruncate, (int fd, off_t size), (fd, size), int, off_t)
FAILING('w', int, ftruncate64, (int fd, off_t size), (fd, size), int, off_t)
FAILING('w', int, rename, (const char* a, const char* b), (a, b), const char*,
        const char*)
FAILING('w', int, fchmod, (int fd, mode_t mode), (fd, mode), int, mode_t)
FAILING('f', ssize_t, pread, (int fd, void* data, size_t size, off_t at),
        (fd, data, size, at), int, void*, size_t, off_t)
FAILING('f', ssize_t, pread64, (int fd, void* data, size_t size, off_t at),
        (fd, data, size, at), int, void*, size_t, off_t)
FAILING('f', void*, mmap,
        (void* at, size_t size, int prot, int flags, int fd, off_t from),
        (at, size, prot, flags, fd, from), void*, size_t, int, int, int, off_t)
FAILING('f', int, memfd_create, (const char* name, unsigned flags),
        (name, flags), const char*, unsigned)
FAILING('f', int, socketpair, (int a, int b, int c, int d[2]), (a, b, c, d),
        int, int, int, int*)
FAILING('f', ssize_t, recv, (int fd, void* data, size_t size, int flags),
        (fd, data, size, flags), int, void*, size_t, int)
FAILING('f', ssize_t, send, (int fd, const void* data, size_t size, int flags),
        (fd, data, size, flags), int, const void*, size_t, int)

FAILING('s', int, setrlimit, (__rlimit_resource_t kind, const struct rlimit* l),
        (kind, l), __rlimit_resource_t, const struct rlimit*)
FAILING('s', int, setrlimit64,
        (__rlimit_resource_t kind, const struct rlimit64* l), (kind, l),
        __rlimit_resource_t, const struct rlimit64*)

int prctl(int option, ...) {
  REAL(int, "prctl", int, unsigned long, unsigned long, unsigned long,
       unsigned long);
  va_list list;
  va_start(list, option);
  unsigned long a[4];
  for (int i = 0; i < 4; ++i) a[i] = va_arg(list, unsigned long);
  va_end(list);
  if (!is_short && fails('s')) return -1;
  return real(option, a[0], a[1], a[2], a[3]);
}

int posix_spawn(pid_t* pid, const char* path,
                const posix_spawn_file_actions_t* actions,
                const posix_spawnattr_t* attributes, char* const* arguments,
                char* const* environment) {
  REAL(int, "posix_spawn", pid_t*, const char*,
       const posix_spawn_file_actions_t*, const posix_spawnattr_t*,
       char* const*, char* const*);
  if (!is_short && fails('f')) return failure;
  return real(pid, path, actions, attributes, arguments, environment);
}

// Of a file that is written; it is closed all the same, as Linux does.
int close(int fd) {
  REAL(int, "close", int);
  struct stat status;
  const int flags = fcntl(fd, F_GETFL);
  const int is_written = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY &&
                         fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  const int fault = fd > 2 && is_written && !is_short && fails('w');
  const int result = real(fd);
  if (!fault) return result;
  errno = failure;
  return -1;
}

int open(const char* path, int flags, ...) {
  REAL(int, "open", const char*, int, mode_t);
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  if (!is_short && fails((flags & O_CREAT) != 0 ? 'w' : 'f')) return -1;
  return real(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open(path, flags, mode);
}

extern void* __libc_malloc(size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_calloc(size_t, size_t);
void* malloc(size_t size) { return fails('m') ? NULL : __libc_malloc(size); }
void* realloc(void* old, size_t size) {
  return fails('m') ? NULL : __libc_realloc(old, size);
}
void* calloc(size_t count, size_t size) {
  return fails('m') ? NULL : __libc_calloc(count, size);
}
