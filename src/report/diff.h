// Diff reports as text, JSON and pictures.
#pragma once

#include <string>

#include "kvtape/diff.h"
#include "report/style.h"

namespace kvtape {

/// What was compared with what, as the user named it.
struct DiffNames {
  std::string expected;
  std::string actual;
};

std::string diff_text(const DiffReport& report, const DiffNames& names,
                      const TextStyle& style);

/// "schema": "kvtape.diff/1".
std::string diff_json(const DiffReport& report, const DiffNames& names);

/// Layers down, heads across, keys beside values: the largest error of each
/// head on a fixed log scale, and under it the error over the positions of the
/// worst head.
std::string diff_svg(const DiffReport& report, const DiffNames& names);

/// The picture with the tables, one file without scripts.
std::string diff_html(const DiffReport& report, const DiffNames& names);

/// The table of the evidence.
std::string explain_text(const Explanation& explanation);

/// Layers down, heads across: the largest error of each head as a shade.
std::string diff_map(const DiffReport& report, const TextStyle& style);

/// "rtol 1e-3, atol 1e-5 (default for f16)", "at most 2 ulp", "equal bits".
std::string rule_text(const DiffReport& report);

/// "layer 7 value row 0 position 17 head 3 dim 4".
std::string place_text(const DiffPoint& point);

/// "5 of 192 heads out of tolerance", "within tolerance, ...".
std::string outcome_text(const DiffReport& report);

/// "structural: ...", with the numbers that decide.
std::string verdict_text(const DiffReport& report);

}  // namespace kvtape
