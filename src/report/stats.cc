// Statistics as text and as CSV.
#include "report/stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "report/numbers.h"
#include "report/text.h"

namespace kvtape {
namespace {

constexpr std::size_t kShownRows = 40;
constexpr std::size_t kShownFindings = 12;
constexpr std::array<std::string_view, 8> kBlocks{"▁", "▂", "▃", "▄",
                                                  "▅", "▆", "▇", "█"};
constexpr std::array<std::string_view, 8> kAscii{".", ":", "-", "=",
                                                 "+", "*", "#", "@"};

// Parts of a histogram as bars; parts without numbers are blanks.
std::string bars(const std::vector<std::int64_t>& parts,
                 const TextStyle& style) {
  std::string text;
  const std::int64_t most =
      parts.empty() ? 0 : *std::max_element(parts.begin(), parts.end());
  for (const std::int64_t part : parts) {
    if (part == 0) {
      text += ' ';
      continue;
    }
    const auto level = static_cast<std::size_t>(
        static_cast<double>(part) / static_cast<double>(most) * 7.999);
    text += style.unicode ? kBlocks[level] : kAscii[level];
  }
  return text;
}

// Half as many parts, so that a table keeps to its line.
std::vector<std::int64_t> halved(const std::vector<std::int64_t>& parts) {
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i + 1 < parts.size(); i += 2)
    result.push_back(parts[i] + parts[i + 1]);
  return result;
}

std::string number_text(double value) { return fmt::format("{:.4g}", value); }

std::string place_text(const StatsRow& row, StatsBy by) {
  switch (by) {
    case StatsBy::kLayer:
      return "";
    case StatsBy::kHead:
      return count_text(*row.head);
    case StatsBy::kPosition:
      return row.positions->size() == 1
                 ? count_text(row.positions->first)
                 : fmt::format("{}..{}", row.positions->first,
                               row.positions->last - 1);
    case StatsBy::kChannel:
      return fmt::format("{}/{}", *row.head, *row.channel);
  }
  return "";
}

std::vector<Column> columns_of(StatsBy by) {
  std::vector<Column> columns{{"layer", Align::kRight}, {"kind"}};
  if (by == StatsBy::kHead) columns.push_back({"head", Align::kRight});
  if (by == StatsBy::kPosition) columns.push_back({"position", Align::kRight});
  if (by == StatsBy::kChannel) columns.push_back({"head/dim", Align::kRight});
  for (const char* title : {"mean", "std", "min", "max"})
    columns.push_back({title, Align::kRight});
  if (by == StatsBy::kLayer || by == StatsBy::kHead)
    for (const char* title : {"|x| p50", "p99"})
      columns.push_back({title, Align::kRight});
  if (by != StatsBy::kChannel) columns.push_back({"|token|", Align::kRight});
  for (const char* title : {"zero", "nan", "inf"})
    columns.push_back({title, Align::kRight});
  if (by == StatsBy::kLayer || by == StatsBy::kHead)
    columns.push_back({"from min to max"});
  return columns;
}

std::vector<std::string> cells_of(const StatsRow& row, StatsBy by,
                                  const TextStyle& style) {
  std::vector<std::string> cells{count_text(row.layer),
                                 std::string(name(row.kind))};
  if (by != StatsBy::kLayer) cells.push_back(place_text(row, by));
  const bool any = row.finite() > 0;
  for (const double value : {row.mean, row.std, row.min, row.max})
    cells.push_back(any ? number_text(value) : "-");
  if (by == StatsBy::kLayer || by == StatsBy::kHead) {
    cells.push_back(row.quantiles ? number_text(row.quantiles->p50) : "-");
    cells.push_back(row.quantiles ? number_text(row.quantiles->p99) : "-");
  }
  if (by != StatsBy::kChannel)
    cells.push_back(
        row.norms.count > 0
            ? number_text(row.norms.sum / static_cast<double>(row.norms.count))
            : "-");
  for (const std::int64_t count : {row.zeros, row.nan, row.inf})
    cells.push_back(count_text(count));
  if (by == StatsBy::kLayer || by == StatsBy::kHead)
    cells.push_back(bars(halved(row.histogram), style));
  return cells;
}

std::string table_of(const StatsReport& report, const TextStyle& style) {
  Table table{.columns = columns_of(report.by), .rows = {}};
  const std::size_t shown = style.verbosity > 0
                                ? report.rows.size()
                                : std::min(report.rows.size(), kShownRows);
  for (std::size_t i = 0; i < shown; ++i)
    table.rows.push_back(cells_of(report.rows[i], report.by, style));
  const std::size_t hidden = report.rows.size() - shown;
  return table_text(table) +
         (hidden == 0 ? ""
                      : fmt::format("  ... {} more (-v for all)\n", hidden));
}

// One shape in lines of its own, with its ends.
std::string histogram_text(const StatsRow& row, StatsBy by,
                           const TextStyle& style) {
  const std::string place = place_text(row, by);
  return fmt::format("  layer {:>3} {:<5} {}{}{:>10} {} {}\n", row.layer,
                     name(row.kind), place, place.empty() ? "" : " ",
                     number_text(row.min), bars(row.histogram, style),
                     number_text(row.max));
}

std::string findings_of(const StatsReport& report, const TextStyle& style) {
  if (report.findings.empty()) return "";
  std::string text = "\n";
  const std::size_t shown =
      style.verbosity > 0 ? report.findings.size()
                          : std::min(report.findings.size(), kShownFindings);
  for (std::size_t i = 0; i < shown; ++i) {
    const StatsFinding& finding = report.findings[i];
    const std::string head =
        finding.head ? fmt::format(" head {}", *finding.head) : "";
    text += fmt::format("  {} layer {} {}{}: {}\n",
                        colored(style, Color::kYellow, bad_mark(style)),
                        finding.layer, name(finding.kind), head, finding.text);
  }
  if (shown < report.findings.size())
    text += fmt::format("  ... {} more (-v for all)\n",
                        report.findings.size() - shown);
  return text;
}

std::string headline(const StatsReport& report) {
  std::int64_t numbers = 0;
  std::int64_t saturated = 0;
  bool quantized = false;
  for (const StatsRow& row : report.rows) {
    numbers += row.count;
    saturated += row.saturated.value_or(0);
    quantized = quantized || row.saturated;
  }
  return fmt::format("{} of {} slots, {}{}\n", counted(numbers, "number"),
                     report.dead ? "all" : "live",
                     report.findings.empty()
                         ? "nothing that catches the eye"
                         : counted(std::ssize(report.findings), "thing") +
                               " that may be wrong",
                     quantized ? fmt::format("; {} at an end of their range",
                                             counted(saturated, "code"))
                               : "");
}

}  // namespace

std::string stats_text(const StatsReport& report, const std::string& file,
                       bool histograms, const TextStyle& style) {
  std::string text = printable(file) + ": " + headline(report);
  if (!report.rows.empty()) text += table_of(report, style);
  if (histograms) {
    text += '\n';
    for (const StatsRow& row : report.rows)
      if (!row.histogram.empty()) text += histogram_text(row, report.by, style);
  }
  for (const std::string& part : report.not_read)
    text += fmt::format("  not read: {}\n", printable(part));
  return text + findings_of(report, style);
}

std::string stats_csv(const StatsReport& report) {
  std::string text =
      "layer,kind,head,channel,first,last,count,mean,std,min,max,p50,p90,p99,"
      "p999,norm_min,norm_mean,norm_max,zeros,nan,inf\n";
  const auto number = [](bool there, double value) {
    return there ? fmt::format(",{}", shortest_text(value)) : std::string(",");
  };
  const auto integer = [](const std::optional<std::int64_t>& value) {
    return value ? fmt::format(",{}", *value) : std::string(",");
  };
  for (const StatsRow& row : report.rows) {
    const bool any = row.finite() > 0;
    const Norms& norms = row.norms;
    const Quantiles quantiles = row.quantiles.value_or(Quantiles{});
    const auto position = [&row](std::int64_t Interval::*end) {
      return row.positions ? std::optional((*row.positions).*end)
                           : std::nullopt;
    };
    text += fmt::format("{},{}", row.layer, name(row.kind));
    text += integer(row.head) + integer(row.channel) +
            integer(position(&Interval::first)) +
            integer(position(&Interval::last)) + integer(row.count);
    for (const double value : {row.mean, row.std, row.min, row.max})
      text += number(any, value);
    for (const double value :
         {quantiles.p50, quantiles.p90, quantiles.p99, quantiles.p999})
      text += number(row.quantiles.has_value(), value);
    const double count = static_cast<double>(norms.count);
    for (const double value : {norms.min, norms.sum / count, norms.max})
      text += number(norms.count > 0, value);
    text += fmt::format(",{},{},{}\n", row.zeros, row.nan, row.inf);
  }
  return text;
}

}  // namespace kvtape
