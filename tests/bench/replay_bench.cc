// What the machine can do, what replay makes of it, and what others make of it
// where they are installed. Prints a table and gates nothing.
//   replay_bench [--full] [--rounds N] [--json FILE] [SECTION...]
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>

#include "machine.h"
#include "sections.h"

namespace kvtape::bench {

std::string heads_text(const Shape& shape) {
  return fmt::format("({},{},{})", shape.query_heads, shape.heads, shape.dim);
}

std::vector<Shape> usual_shapes() {
  return {{.query_heads = 32, .heads = 32, .dim = 128},
          {.query_heads = 32, .heads = 8, .dim = 128},
          {.query_heads = 8, .heads = 1, .dim = 256},
          {.query_heads = 16, .heads = 16, .dim = 64}};
}

void bench_machine(Results& results) {
  const Shape shape{.query_heads = 32, .heads = 32};
  const DecodeCache cache = decode_cache(shape, DType::kF32);
  const auto query = numbers(shape.query_heads * shape.dim, 1);
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    const std::string subject = fmt::format("{}T", threads);
    results.add({"machine", subject, "GFLOP/s of FMA", fma_flops(pool) / 1e9});
    for (const Order order : {Order::kHeadFirst, Order::kSlotFirst}) {
      Decode decode(cache, order, query);
      std::vector<Timed> read;
      for (const kernels::Kernels& reading : reading_kernels())
        read.push_back(
            {.name = "read", .run = [&] { decode.run(reading, pool); }});
      measure(read, 5);
      const double seconds = std::min(median_of(read[0]), median_of(read[1]));
      results.add({"machine", subject + " " + name(order), "GB/s read",
                   static_cast<double>(cache.bytes()) / seconds / 1e9});
    }
  }
}

namespace {

struct Arguments {
  Settings settings;
  std::string json;
  std::vector<std::string> sections;
};

Arguments parsed(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--full")
      arguments.settings.full = true;
    else if (word == "--rounds" && i + 1 < argc)
      arguments.settings.rounds = std::atoi(argv[++i]);
    else if (word == "--json" && i + 1 < argc)
      arguments.json = argv[++i];
    else
      arguments.sections.push_back(word);
  }
  return arguments;
}

int run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a peer that is not installed
  Arguments arguments = parsed(argc, argv);
  TorchPeer torch(KVTAPE_TORCH_PEER);
  if (!torch.version().empty()) arguments.settings.torch = &torch;
  fmt::print("kernels {}; OpenBLAS; PyTorch {}\n", kernels::active().name,
             torch.version().empty() ? "not installed" : torch.version());
  const Settings& settings = arguments.settings;
  Results results;
  const std::vector<std::pair<std::string, std::function<void()>>> sections{
      {"machine", [&] { bench_machine(results); }},
      {"decode", [&] { bench_decode(settings, results); }},
      {"trace", [&] { bench_trace(settings, results); }},
      {"accuracy", [&] { bench_accuracy(settings, results); }},
      {"growth", [&] { bench_growth(settings, results); }},
      {"scalar", [&] { bench_scalar(settings, results); }},
      {"file", [&] { bench_file(settings, results); }}};
  for (const auto& [name, bench] : sections) {
    const auto& wanted = arguments.sections;
    if (wanted.empty() ||
        std::find(wanted.begin(), wanted.end(), name) != wanted.end())
      bench();
  }
  results.finish(arguments.json);
  return 0;
}

}  // namespace
}  // namespace kvtape::bench

int main(int argc, char** argv) { return kvtape::bench::run(argc, argv); }
