// The time of a replay from a file against slots, steps, layers and rows, each
// over three decades: the exponent of the best power law, and a picture.
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "kvtape/io.h"
#include "kvtape/replay.h"
#include "kvtape/sample.h"
#include "report/svg.h"
#include "sections.h"

namespace kvtape::bench {
namespace {

constexpr const char* kSection = "growth: time ~ size ^ exponent";

// One size grows, the others stay.
struct Sweep {
  const char* name;
  std::int64_t from = 0;
  std::function<SampleOptions(std::int64_t)> options;
};

struct Curve {
  std::string name;
  std::vector<double> sizes;
  std::vector<double> seconds;
};

SampleOptions small() {
  return {.layers = 1,
          .key_heads = 2,
          .query_heads = 4,
          .key_dim = 64,
          .value_dim = 64,
          .dtype = DType::kF16,
          .final_state = false};
}

SampleOptions with_slots(std::int64_t slots) {
  SampleOptions options = small();
  options.sequence_length = slots + 1;
  options.filled = slots;
  options.prompt = 0;
  options.steps = 1;
  return options;
}

SampleOptions with_steps(std::int64_t steps) {
  SampleOptions options = small();
  options.sequence_length = 16384 + steps;
  options.filled = 16384;
  options.prompt = 0;
  options.steps = steps;
  return options;
}

SampleOptions with_layers(std::int64_t layers) {
  SampleOptions options = with_slots(2048);
  options.layers = layers;
  return options;
}

SampleOptions with_rows(std::int64_t rows) {
  SampleOptions options = with_slots(2048);
  options.batch_size = rows;
  return options;
}

double replay_seconds(const SampleOptions& options, int rounds) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "kvtape_growth.h5").string();
  write_tape(make_sample(options), path, {.force = true});
  std::vector<Timed> timed{{.name = "replay", .run = [&] {
                              replay(read_tape(path), {.threads = 1});
                            }}};
  measure(timed, rounds);
  std::filesystem::remove(path);
  return median_of(timed[0]);
}

// Least squares on logarithms, over the sizes whose time is not all start-up.
double exponent(const Curve& curve) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (std::size_t i = 0; i < curve.sizes.size(); ++i) {
    const double a = std::log(curve.sizes[i]);
    const double b = std::log(curve.seconds[i]);
    n += 1, x += a, y += b, xx += a * a, xy += a * b;
  }
  return (n * xy - x * y) / (n * xx - x * x);
}

// Both axes logarithmic, four decades wide and five high.
void draw(const std::vector<Curve>& curves, const std::string& path) {
  constexpr double kDecade = 100;
  Svg svg{.width = 560, .height = 600};
  const auto place = [](double size, double ms) {
    return Point{60 + std::log10(size) * kDecade,
                 540 - (std::log10(ms) + 1) * kDecade};
  };
  const char* colors[] = {"#1b6ca8", "#c0392b", "#2e8b57", "#8e5ea2"};
  for (int decade = -1; decade <= 4; ++decade)
    add_text(svg, {10, place(1, std::pow(10, decade)).y},
             fmt::format("{:g} ms", std::pow(10, decade)), "font-size=\"11\"");
  for (double size = 1; size <= 1e4; size *= 10) {
    add_text(svg, {place(size, 0.1).x - 8, 560}, fmt::format("x{:g}", size),
             "font-size=\"11\"");
    add_line(svg, place(size, 0.1), place(size, 1e4), "stroke=\"#eee\"");
  }
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const Curve& curve = curves[i];
    std::vector<Point> points;
    for (std::size_t k = 0; k < curve.sizes.size(); ++k)
      points.push_back(
          place(curve.sizes[k] / curve.sizes[0], curve.seconds[k] * 1e3));
    add_polyline(svg, points, curve.name,
                 fmt::format("fill=\"none\" stroke=\"{}\"", colors[i % 4]));
    add_text(svg, {points.back().x + 6, points.back().y}, curve.name,
             fmt::format("font-size=\"12\" fill=\"{}\"", colors[i % 4]));
  }
  std::ofstream(path) << svg_text(svg, "Replay time against size");
}

}  // namespace

void bench_growth(const Settings& settings, Results& results) {
  const std::vector<Sweep> sweeps{{"slots", 512, with_slots},
                                  {"steps", 8, with_steps},
                                  {"layers", 1, with_layers},
                                  {"rows", 1, with_rows}};
  std::vector<Curve> curves;
  for (const Sweep& sweep : sweeps) {
    Curve curve{.name = sweep.name};
    for (std::int64_t size = sweep.from; size <= sweep.from * 1024; size *= 4) {
      curve.sizes.push_back(static_cast<double>(size));
      curve.seconds.push_back(
          replay_seconds(sweep.options(size), settings.rounds));
    }
    results.add({kSection, curve.name, "exponent", exponent(curve), 1.1, true});
    curves.push_back(curve);
  }
  const Curve& rows = curves.back();
  results.add({kSection, "1024 rows", "x 1024 times one row",
               rows.seconds.back() / rows.seconds.front() / 1024, 1.0, true});
  if (const char* path = std::getenv("KVTAPE_GROWTH_SVG")) draw(curves, path);
}

}  // namespace kvtape::bench
