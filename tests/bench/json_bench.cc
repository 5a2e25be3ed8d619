// Tensors as JSON and back, against other libraries on the same numbers, and
// against a plain copy of as many bytes. Prints a table and gates nothing.
//   json_bench [--rounds N] [--json FILE]
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#if defined(HAVE_SIMDJSON)
#include <simdjson.h>
#endif

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "kernels/kernels.h"
#include "kvtape/io.h"
#include "kvtape/json.h"
#include "results.h"
#include "timing.h"

namespace kvtape::bench {
namespace {

constexpr std::int64_t kNumbers = 2'000'000;

std::vector<float> normal_numbers(std::int64_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// A cache of one key tensor of `dtype`.
Tape tape_of(const std::vector<float>& values, DType dtype) {
  const auto size = static_cast<std::size_t>(bytes_per_element(dtype));
  std::vector<std::byte> bytes(values.size() * size);
  const auto element = dtype == DType::kF16    ? kernels::Element::kF16
                       : dtype == DType::kBF16 ? kernels::Element::kBF16
                                               : kernels::Element::kF32;
  kernels::active().narrow_f32(values.data(), std::ssize(values), element,
                               bytes.data());
  Tape tape;
  tape.cache.metadata = {.batch_size = 1,
                         .sequence_length = std::ssize(values) / 64,
                         .num_hidden_layers = 1,
                         .num_heads = 1,
                         .head_dim = 64};
  tape.cache.layers[0].key =
      make_tensor(dtype,
                  {{AxisKind::kBatch, "batch", 1},
                   {AxisKind::kPosition, "position", std::ssize(values) / 64},
                   {AxisKind::kHead, "head", 1},
                   {AxisKind::kDim, "dim", 64}},
                  std::move(bytes));
  return tape;
}

std::string name_of(DType dtype) { return std::string(kvtape::name(dtype)); }

// Python's own time for json.dumps of as many numbers, in seconds.
double python_seconds() {
  const std::string script = fmt::format(
      "import json,random,time\n"
      "a=[random.gauss(0,1) for _ in range({})]\n"
      "t=time.perf_counter(); json.dumps(a); print(time.perf_counter()-t)",
      kNumbers);
  const std::string command = "/usr/bin/python3 -c '" + script + "'";
  std::FILE* pipe = popen(command.c_str(), "r");
  double seconds = 0;
  if (pipe == nullptr || std::fscanf(pipe, "%lf", &seconds) != 1) seconds = 0;
  if (pipe != nullptr) pclose(pipe);
  return seconds;
}

void bench_write(int rounds, Results& results) {
  constexpr const char* kSection = "writing numbers";
  const auto values = normal_numbers(kNumbers);
  const nlohmann::json array(values);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const Tape tape = tape_of(values, dtype);
    std::size_t bytes = 0;
    const auto run = [&](int threads) {
      return [&tape, &bytes, threads] {
        bytes = 0;
        write_json(tape, {.threads = threads},
                   [&](std::string_view text) { bytes += text.size(); });
      };
    };
    std::vector<Timed> all{
        {.name = "nlohmann", .run = [&] { bytes = array.dump().size(); }},
        {.name = "1", .run = run(1)},
        {.name = "2", .run = run(2)}};
    if (dtype == DType::kF32)
      all.push_back({.name = "Python", .seconds = python_seconds});
    measure(all, rounds);
    const bool f32 = dtype == DType::kF32;
    const std::string subject = name_of(dtype) + ", 1T";
    results.add({kSection, subject, "ns a number",
                 median_of(all[1]) * 1e9 / static_cast<double>(kNumbers)});
    results.add({kSection, subject, "x nlohmann", speedup(all[0], all[1]),
                 f32 ? 2.8 : 15});
    results.add({kSection, name_of(dtype) + ", 2T", "x nlohmann",
                 speedup(all[0], all[2]),
                 f32 ? std::optional(5.0) : std::nullopt});
    if (f32)
      results.add(
          {kSection, subject, "x Python's json", speedup(all[3], all[1]), 12});
  }
}

std::string temporary(const char* name) {
  return (std::filesystem::temp_directory_path() / name).string();
}

std::string document_of(const Tape& tape, Encoding encoding) {
  std::string text;
  write_json(tape, {.encoding = encoding},
             [&](std::string_view part) { text += part; });
  return text;
}

void bench_read(int rounds, Results& results) {
  constexpr const char* kSection = "reading numbers";
  const auto values = normal_numbers(kNumbers);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::string text =
        document_of(tape_of(values, dtype), Encoding::kNumbers);
    const std::string path = temporary("kvtape_json_bench.json");
    std::ofstream(path) << text;
    std::vector<Timed> all{{.name = "nlohmann",
                            .run =
                                [&] {
                                  if (nlohmann::json::parse(text).empty())
                                    std::abort();
                                }},
                           {.name = "1", .run = [&] { read_tape(path); }}};
#if defined(HAVE_SIMDJSON)
    simdjson::dom::parser parser;
    const simdjson::padded_string padded(text);
    all.push_back({.name = "simdjson", .run = [&] {
                     std::vector<float> out;
                     out.reserve(static_cast<std::size_t>(kNumbers));
                     const simdjson::dom::element root = parser.parse(padded);
                     for (const double x :
                          root["layers"]["0"]["key"]["data"].get_array())
                       out.push_back(static_cast<float>(x));
                   }});
#endif
    measure(all, rounds);
    std::filesystem::remove(path);
    const std::string subject = name_of(dtype) + ", from a file";
    results.add({kSection, subject, "ns a number",
                 median_of(all[1]) * 1e9 / static_cast<double>(kNumbers)});
    const bool f32 = dtype == DType::kF32;
    results.add({kSection, subject, "x nlohmann", speedup(all[0], all[1]),
                 f32 ? std::optional(8.0) : std::nullopt});
    if (all.size() > 2)
      results.add({kSection, subject, "x simdjson's DOM",
                   speedup(all[2], all[1]),
                   f32 ? std::optional(1.5) : std::nullopt});
  }
}

// Reads a file and writes it to the disk under another name.
void copy_file(const std::string& from, const std::string& to) {
  const int in = ::open(from.c_str(), O_RDONLY);
  const int out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  std::vector<char> buffer(1 << 20);
  for (;;) {
    const ssize_t count = ::read(in, buffer.data(), buffer.size());
    if (count <= 0) break;
    if (::write(out, buffer.data(), static_cast<std::size_t>(count)) != count)
      std::abort();
  }
  fsync(out);
  ::close(in);
  ::close(out);
}

void write_document(const std::string& from, const std::string& to) {
  const int out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  write_json(read_tape(from), {.encoding = Encoding::kBase64},
             [out](std::string_view text) {
               if (::write(out, text.data(), text.size()) !=
                   static_cast<ssize_t>(text.size()))
                 std::abort();
             });
  fsync(out);
  ::close(out);
}

void bench_base64(int rounds, Results& results) {
  constexpr const char* kSection = "base64, file to file";
  const std::string hdf5 = temporary("kvtape_json_bench.h5");
  const std::string json = temporary("kvtape_json_bench.json");
  const std::string copy = temporary("kvtape_json_bench.copy");
  const std::string back = temporary("kvtape_json_bench.back.h5");
  write_tape(tape_of(normal_numbers(64'000'000), DType::kF32), hdf5,
             {.force = true});
  write_document(hdf5, json);
  std::vector<Timed> all{
      {.name = "copy of the text", .run = [&] { copy_file(json, copy); }},
      {.name = "to JSON", .run = [&] { write_document(hdf5, json); }},
      {.name = "copy of HDF5", .run = [&] { copy_file(hdf5, copy); }},
      {.name = "to HDF5",
       .run = [&] { write_tape(read_tape(json), back, {.force = true}); }}};
  measure(all, rounds);
  const auto rate = [](const std::string& path, const Timed& timed) {
    return static_cast<double>(std::filesystem::file_size(path)) /
           median_of(timed) / 1e9;
  };
  results.add({kSection, "HDF5 to JSON", "GB/s of output", rate(json, all[1])});
  results.add({kSection, "HDF5 to JSON", "of a plain copy",
               speedup(all[0], all[1]), 0.6});
  results.add({kSection, "JSON to HDF5", "GB/s of output", rate(back, all[3])});
  results.add({kSection, "JSON to HDF5", "of a plain copy",
               speedup(all[2], all[3]), 0.6});
  for (const auto& path : {hdf5, json, copy, back})
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace kvtape::bench

int main(int argc, char** argv) {
  int rounds = 5;
  std::string json;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--json") == 0) json = argv[i + 1];
  }
  kvtape::bench::Results results;
  kvtape::bench::bench_write(rounds, results);
  kvtape::bench::bench_read(rounds, results);
  kvtape::bench::bench_base64(rounds, results);
  results.finish(json);
  return 0;
}
