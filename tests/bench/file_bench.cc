// A whole command on a large file in the page cache, against a process that
// maps the same file and reads every byte with as many threads.
#include <fcntl.h>
#include <fmt/format.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "kernels/avx2.h"
#include "kvtape/io.h"
#include "kvtape/sample.h"
#include "sections.h"

namespace kvtape::bench {
namespace {

constexpr const char* kSection = "file: a whole replay of one step";

// One row and step over 8 layers of multi-head keys and values: 4.3 GB.
SampleOptions large() {
  return {.layers = 8,
          .key_heads = 32,
          .query_heads = 32,
          .key_dim = 128,
          .value_dim = 128,
          .sequence_length = 32768,
          .prompt = 0,
          .steps = 1,
          .dtype = DType::kF16,
          .keys_in_cache = true,
          .final_state = false};
}

KVTAPE_AVX2 void read_all(const std::byte* at, std::int64_t bytes) {
  __m256i sum = _mm256_setzero_si256();
  for (std::int64_t i = 0; i + 32 <= bytes; i += 32)
    sum = _mm256_add_epi64(
        sum, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i)));
  asm volatile("" : : "x"(sum));
}

void map_and_read(const std::string& path, int threads) {
  const auto bytes =
      static_cast<std::int64_t>(std::filesystem::file_size(path));
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* map = mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ,
                   MAP_SHARED, file, 0);
  if (map == MAP_FAILED) _exit(1);
  const auto* data = static_cast<const std::byte*>(map);
  std::vector<std::jthread> readers;
  for (int i = 0; i < threads; ++i)
    readers.emplace_back([=] {
      const std::int64_t first = bytes / threads * i;
      read_all(data + first, bytes / threads);
    });
}

pid_t started(const std::function<void()>& child) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  child();
  _exit(0);
}

void wait_for(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fmt::print(stderr, "a process failed\n");
    std::exit(1);
  }
}

void replay_command(const std::string& path, int threads) {
  execl(KVTAPE_PROGRAM, KVTAPE_PROGRAM, "replay", "-q", "--threads",
        std::to_string(threads).c_str(), path.c_str(), nullptr);
  _exit(127);
}

// RssAnon and RssShmem, in MB; 0 of a process that has ended.
double resident(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  double kib = 0;
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:") || line.starts_with("RssShmem:"))
      kib += std::atof(line.c_str() + line.find(':') + 1);
  return kib * 1024 / 1e6;
}

double peak_memory(const std::string& path) {
  const pid_t pid = started([&] { replay_command(path, 2); });
  double peak = 0;
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    peak = std::max(peak, resident(pid));
    usleep(1000);
  }
  return peak;
}

}  // namespace

void bench_file(const Settings& settings, Results& results) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "kvtape_file.h5").string();
  write_tape(make_sample(large()), path, {.force = true});
  for (const int threads : {1, 2}) {
    std::vector<Timed> timed{
        {.name = "mapping",
         .run =
             [&] { wait_for(started([&] { map_and_read(path, threads); })); }},
        {.name = "kvtape replay", .run = [&] {
           wait_for(started([&] { replay_command(path, threads); }));
         }}};
    measure(timed, settings.rounds);
    const std::string subject = fmt::format(
        "{:.1f} GB f16 {}T",
        static_cast<double>(std::filesystem::file_size(path)) / 1e9, threads);
    results.add({kSection, subject, "s to map and read", median_of(timed[0])});
    results.add({kSection, subject, "s to replay", median_of(timed[1])});
    results.add({kSection, subject, "x mapping and reading",
                 1 / speedup(timed[0], timed[1]), 1.3, true});
  }
  results.add({kSection, "2T", "MB of RssAnon + RssShmem", peak_memory(path),
               150, true});
  std::filesystem::remove(path);
}

}  // namespace kvtape::bench
