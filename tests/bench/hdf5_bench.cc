// What it costs that libhdf5 runs in another process: files that are read
// through kvtape against H5Dread of the same files in this process, and starts
// of the program against /bin/true. Both readers add up what they read. Prints
// a table and gates nothing.
//   hdf5_bench [--rounds N] [--full] [--json FILE]
#include <fcntl.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "io/write_plan.h"
#include "kvtape/io.h"
#include "kvtape/json.h"
#include "kvtape/sample.h"
#include "results.h"
#include "timing.h"

namespace kvtape::bench {
namespace {

namespace fs = std::filesystem;

struct Settings {
  int rounds = 5;
  bool full = false;  // 1 GB instead of 268 MB
  std::string json;
};

// Keys and values of multi-head layers, and next to nothing else.
SampleOptions large(bool full) {
  return {.layers = full ? 8 : 2,
          .key_heads = 32,
          .query_heads = 32,
          .key_dim = 128,
          .value_dim = 128,
          .sequence_length = 8192,
          .prompt = 0,
          .steps = 1,
          .dtype = DType::kF16,
          .keys_in_cache = true,
          .final_state = false};
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const char* name)
      : path_(fs::temp_directory_path() /
              fmt::format("{}.{}", name, getpid())) {}
  ~TemporaryFile() { fs::remove(path_); }
  std::string path() const { return path_; }

 private:
  fs::path path_;
};

// Of words, so that reading cannot be left out.
std::uint64_t sum_of(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + sizeof sum <= bytes.size(); at += sizeof sum) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    sum += word;
  }
  return sum;
}

std::uint64_t read_with_kvtape(const std::string& path, int threads) {
  std::uint64_t sum = 0;
  ThreadPool pool(threads);
  const Tape tape = read_tape(path);
  for (const auto& [name, object] : plan_of(tape))
    if (object.dataset && name.starts_with("/layers/"))
      stream(*object.dataset, pool,
             [&](std::span<const std::byte> bytes) { sum += sum_of(bytes); });
  return sum;
}

// ---- the peer

// Of [batch, position, head, dim] and the like: rows of the second axis, 8 MiB
// of them at a time, raw as kvtape reads them.
std::uint64_t read_dataset(hid_t dataset, std::vector<std::byte>& slab) {
  std::uint64_t sum = 0;
  const hid_t type = H5Dget_type(dataset);
  const hid_t space = H5Dget_space(dataset);
  std::array<hsize_t, 4> sizes{};
  const bool large = H5Sget_simple_extent_ndims(space) == 4;
  if (large) H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  constexpr hsize_t kRows = 1024;
  for (hsize_t row = 0; large && row < sizes[1]; row += kRows) {
    const std::array<hsize_t, 4> start{0, row, 0, 0};
    const std::array<hsize_t, 4> count{
        sizes[0], std::min(kRows, sizes[1] - row), sizes[2], sizes[3]};
    slab.resize(count[0] * count[1] * count[2] * count[3] * H5Tget_size(type));
    const hid_t memory = H5Screate_simple(4, count.data(), nullptr);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr,
                        count.data(), nullptr);
    H5Dread(dataset, type, memory, space, H5P_DEFAULT, slab.data());
    H5Sclose(memory);
    sum += sum_of(slab);
  }
  H5Sclose(space);
  H5Tclose(type);
  return sum;
}

std::uint64_t read_with_libhdf5(const std::string& path) {
  std::uint64_t sum = 0;
  std::vector<std::byte> slab;
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  for (int layer = 0;; ++layer) {
    const std::string folder = fmt::format("/layers/{}", layer);
    if (H5Lexists(file, folder.c_str(), H5P_DEFAULT) <= 0) break;
    for (const char* name : {"/key", "/value"}) {
      const hid_t dataset =
          H5Dopen2(file, (folder + name).c_str(), H5P_DEFAULT);
      sum += read_dataset(dataset, slab);
      H5Dclose(dataset);
    }
  }
  H5Fclose(file);
  return sum;
}

void bench_reading(const Settings& settings, const Tape& tape, bool compress,
                   Results& results) {
  const TemporaryFile file("kvtape_hdf5_bench");
  write_tape(tape, file.path(), {.force = true, .compress = compress});
  const std::uint64_t expected = read_with_libhdf5(file.path());
  const auto kvtape = [&](int threads) {
    return [&, threads] {
      if (read_with_kvtape(file.path(), threads) == expected) return;
      fmt::print(stderr, "the two have not read the same\n");
      std::exit(1);
    };
  };
  std::vector<Timed> timed{
      {.name = "H5Dread", .run = [&] { read_with_libhdf5(file.path()); }},
      {.name = "1", .run = kvtape(1)},
      {.name = "2", .run = kvtape(2)}};
  measure(timed, settings.rounds);
  const char* kSection = "reading, from opening to closing";
  const std::string subject =
      fmt::format("{:.2f} GB f16, {}", settings.full ? 1.07 : 0.27,
                  compress ? "shuffle, deflate, fletcher32" : "contiguous");
  results.add({kSection, subject, "s of H5Dread", median_of(timed[0])});
  results.add({kSection, subject + ", 1T", "x H5Dread",
               speedup(timed[0], timed[1]), 1});
  results.add({kSection, subject + ", 2T", "x H5Dread",
               speedup(timed[0], timed[2]), 1});
}

// ---- whole processes

void run_program(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null",
                                   O_WRONLY, 0);
  pid_t process = 0;
  int status = 0;
  if (posix_spawn(&process, arguments.front(), &actions, nullptr,
                  arguments.data(), environ) != 0 ||
      waitpid(process, &status, 0) < 0 || status != 0) {
    fmt::print(stderr, "{} failed\n", words.front());
    std::exit(1);
  }
  posix_spawn_file_actions_destroy(&actions);
}

void bench_starts(Results& results) {
  constexpr int kRounds = 200;
  constexpr const char* kSection = "starting, whole processes";
  const TemporaryFile record("kvtape_record");
  const TemporaryFile json("kvtape_json");
  const TemporaryFile hdf5("kvtape_small");
  std::ofstream(record.path())
      << R"({"batch_size": 2, "sequence_length": 16, "num_hidden_layers": 2,)"
      << R"( "pad_token_id": 0, "num_heads": 4, "head_dim": 8})";
  const Tape tape = make_sample({.layers = 1});
  write_tape(tape, hdf5.path(), {.force = true});
  std::ofstream out(json.path());
  write_json(tape, {.encoding = Encoding::kSummary},
             [&](std::string_view text) { out << text; });
  out.close();
  const auto run = [](std::vector<std::string> words) {
    return [words] { run_program(words); };
  };
  std::vector<Timed> timed{
      {.name = "/bin/true", .run = run({"/bin/true"})},
      {.name = "kvtape --help", .run = run({KVTAPE_PROGRAM, "--help"})},
      {.name = "kvtape info, JSON",
       .run = run({KVTAPE_PROGRAM, "info", json.path()})},
      {.name = "kvtape validate, a record",
       .run = run({KVTAPE_PROGRAM, "validate", record.path()})},
      {.name = "kvtape info, HDF5",
       .run = run({KVTAPE_PROGRAM, "info", hdf5.path()})}};
  measure(timed, kRounds);
  for (const Timed& each : timed) {
    const bool no_hdf5 = &each != &timed.front() && &each != &timed.back();
    results.add({kSection, each.name, "ms", median_of(each) * 1e3,
                 no_hdf5 ? std::optional(3.0) : std::nullopt, true});
  }
}

Settings settings_of(int count, char** words) {
  Settings settings;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const char* next = i + 1 < count ? words[i + 1] : "";
    if (word == "--full") settings.full = true;
    if (word == "--rounds") settings.rounds = std::atoi(next);
    if (word == "--json") settings.json = next;
  }
  return settings;
}

}  // namespace
}  // namespace kvtape::bench

int main(int count, char** words) {
  using namespace kvtape::bench;
  const Settings settings = settings_of(count, words);
  Results results;
  bench_starts(results);
  const kvtape::Tape tape = kvtape::make_sample(large(settings.full));
  for (const bool compress : {false, true})
    bench_reading(settings, tape, compress, results);
  results.finish(settings.json);
}
