// Source: Linux, Documentation/userspace-api/seccomp_filter.rst.
#include "hdf5/sandbox.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvtape {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif
#else
constexpr bool kIsSanitized = false;
#endif

#if defined(__x86_64__)
constexpr std::uint32_t kMachine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kMachine = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kMachine = 0;  // none that we know the calls of
#endif

constexpr rlim_t kMemory = rlim_t{1} << 30;  // bytes of address space
constexpr rlim_t kSeconds = 120;             // of computing

bool limit(int resource, rlim_t most) {
  rlimit now{};
  if (getrlimit(resource, &now) == 0 && now.rlim_max < most)
    most = now.rlim_max;
  const rlimit wanted{most, most};
  return setrlimit(resource, &wanted) == 0;
}

// Calls without arguments worth a look.
constexpr auto kAllowed = std::to_array<int>({
    SYS_read,           SYS_pread64,         SYS_recvfrom,
    SYS_munmap,         SYS_mremap,          SYS_brk,
    SYS_madvise,        SYS_futex,           SYS_exit,
    SYS_exit_group,     SYS_rt_sigreturn,    SYS_rt_sigaction,
    SYS_rt_sigprocmask, SYS_clock_gettime,   SYS_gettimeofday,
    SYS_getrandom,      SYS_clock_nanosleep, SYS_nanosleep,
    SYS_getpid,         SYS_gettid,          SYS_tgkill,
    SYS_lseek,          SYS_ppoll,
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_time
    SYS_time,
#endif
});

// Memory that cannot be executed; the third argument says so.
constexpr auto kMemoryCalls = std::to_array<int>({SYS_mmap, SYS_mprotect});

// The socket is standard output; standard error is /dev/null.
constexpr auto kWritingCalls = std::to_array<int>({SYS_write, SYS_sendto});

// Refused, so that libhdf5 can say that it failed.
constexpr auto kRefused = std::to_array<int>({
    SYS_openat,
    SYS_newfstatat,
    SYS_fstat,
    SYS_faccessat,
    SYS_readlinkat,
    SYS_ioctl,
    SYS_fcntl,
    SYS_getcwd,
    SYS_uname,
    SYS_sysinfo,
#ifdef SYS_open
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
#endif
});

using Program = std::vector<sock_filter>;

constexpr std::uint32_t argument(std::size_t number) {
  return static_cast<std::uint32_t>(offsetof(seccomp_data, args) +
                                    number * sizeof(std::uint64_t));
}

void load(Program& program, std::uint32_t offset) {
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}
void answer(Program& program, std::uint32_t action) {
  program.push_back(BPF_STMT(BPF_RET | BPF_K, action));
}
// Skips `count` instructions unless the loaded word is `value`.
void unless_equal(Program& program, std::uint32_t value, std::uint8_t count) {
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count));
}

void allow_memory(Program& program, int call) {
  unless_equal(program, static_cast<std::uint32_t>(call), 4);
  load(program, argument(2));
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1));
  answer(program, SECCOMP_RET_KILL_PROCESS);
  answer(program, SECCOMP_RET_ALLOW);
}

void allow_writing(Program& program, int call) {
  unless_equal(program, static_cast<std::uint32_t>(call), 6);
  load(program, argument(0));
  unless_equal(program, STDOUT_FILENO, 1);
  answer(program, SECCOMP_RET_ALLOW);
  unless_equal(program, STDERR_FILENO, 1);
  answer(program, SECCOMP_RET_ALLOW);
  answer(program, SECCOMP_RET_KILL_PROCESS);
}

Program make_program() {
  Program program;
  load(program, offsetof(seccomp_data, arch));
  unless_equal(program, kMachine, 1);
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0));
  answer(program, SECCOMP_RET_KILL_PROCESS);
  load(program, offsetof(seccomp_data, nr));
  for (const int call : kAllowed) {
    unless_equal(program, static_cast<std::uint32_t>(call), 1);
    answer(program, SECCOMP_RET_ALLOW);
  }
  for (const int call : kRefused) {
    unless_equal(program, static_cast<std::uint32_t>(call), 1);
    answer(program, SECCOMP_RET_ERRNO | EACCES);
  }
  for (const int call : kMemoryCalls) allow_memory(program, call);
  for (const int call : kWritingCalls) allow_writing(program, call);
  answer(program, SECCOMP_RET_KILL_PROCESS);
  return program;
}

}  // namespace

bool limit_resources() {
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NOFILE, 0);
  limit(RLIMIT_CPU, kSeconds);
  if (kIsSanitized) return false;
  return limit(RLIMIT_AS, kMemory);
}

bool filter_calls() {
  if (kIsSanitized || kMachine == 0) return false;
  Program filter = make_program();
  const sock_fprog program{static_cast<unsigned short>(filter.size()),
                           filter.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace kvtape
