// Statistics as text, JSON, CSV and pictures.
#pragma once

#include <string>

#include "kvtape/stats.h"
#include "report/style.h"

namespace kvtape {

/// A table with the shape of each row's numbers, and what catches the eye;
/// `histograms` draws each shape in several lines instead.
std::string stats_text(const StatsReport& report, const std::string& file,
                       bool histograms, const TextStyle& style);

/// "schema": "kvtape.stats/1".
std::string stats_json(const StatsReport& report, const std::string& file);

/// A line of names, then a line for each row; what is absent is empty.
std::string stats_csv(const StatsReport& report);

/// Small multiples: a histogram for each row that has one, on the axis of its
/// kind; layers down.
std::string stats_svg(const StatsReport& report, const std::string& file);

}  // namespace kvtape
