// A row of bars, one character each.
#include "report/sparkline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>

#include "report/numbers.h"

namespace kvtape {
namespace {

constexpr std::array<std::string_view, 8> kBlocks{"▁", "▂", "▃", "▄",
                                                  "▅", "▆", "▇", "█"};
constexpr std::array<std::string_view, 9> kAscii{".", ":", "-", "=", "+",
                                                 "*", "#", "%", "@"};

struct Scale {
  double low = std::numeric_limits<double>::infinity();
  double high = 0;
};

// Two decades at least, so that noise stays low.
Scale scale_of(const std::vector<double>& errors) {
  Scale scale;
  for (const double error : errors) {
    if (!(error > 0) || !std::isfinite(error)) continue;
    scale.low = std::min(scale.low, error);
    scale.high = std::max(scale.high, error);
  }
  scale.high = std::max(scale.high, scale.low * 100);
  return scale;
}

std::string_view bar(double error, const Scale& scale,
                     std::span<const std::string_view> bars) {
  if (!std::isfinite(error)) return "X";
  if (error == 0) return " ";
  const double part = (log10_of(error) - log10_of(scale.low)) /
                      (log10_of(scale.high) - log10_of(scale.low));
  const auto level =
      static_cast<std::size_t>(part * static_cast<double>(bars.size()));
  return bars[std::min(level, bars.size() - 1)];
}

}  // namespace

std::vector<double> largest_of_groups(const std::vector<double>& values,
                                      std::size_t columns) {
  const std::size_t groups = std::min(columns, values.size());
  std::vector<double> largest(groups, 0);
  for (std::size_t at = 0; at < values.size(); ++at) {
    double& group = largest[at * groups / values.size()];
    if (std::isnan(group)) continue;
    group = values[at] <= group ? group : values[at];
  }
  return largest;
}

std::string sparkline(const std::vector<double>& errors, std::size_t columns,
                      const TextStyle& style) {
  const std::vector<double> groups = largest_of_groups(errors, columns);
  const Scale scale = scale_of(groups);
  if (!std::isfinite(scale.low) || !std::isfinite(scale.high)) return "";
  const std::span<const std::string_view> bars =
      style.unicode ? std::span<const std::string_view>(kBlocks)
                    : std::span<const std::string_view>(kAscii);
  std::string text = error_text(scale.low, 1) + " ";
  for (const double error : groups) text += bar(error, scale, bars);
  return text + " " + error_text(scale.high, 1);
}

}  // namespace kvtape
