#include "results.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace kvtape::bench {
namespace {

std::string target_text(const Result& result) {
  if (!result.target) return "";
  return fmt::format("{} {:.3g}  {}", result.at_most ? "at most" : "at least",
                     *result.target, result.met() ? "met" : "MISSED");
}

nlohmann::ordered_json as_json(const Result& result) {
  nlohmann::ordered_json json{{"section", result.section},
                              {"subject", result.subject},
                              {"measure", result.measure},
                              {"value", result.value}};
  if (result.target)
    json[result.at_most ? "at_most" : "at_least"] = *result.target;
  return json;
}

}  // namespace

void Results::add(Result result) {
  if (result.section != section_) fmt::print("\n{}\n", result.section);
  section_ = result.section;
  fmt::print("  {:58} {:9.4g} {:24} {}\n", result.subject, result.value,
             result.measure, target_text(result));
  std::fflush(stdout);
  results_.push_back(std::move(result));
}

void Results::finish(const std::string& json_path) const {
  const auto aimed = std::count_if(
      results_.begin(), results_.end(),
      [](const Result& result) { return result.target.has_value(); });
  const auto met = std::count_if(
      results_.begin(), results_.end(),
      [](const Result& result) { return result.target && result.met(); });
  fmt::print("\n{} of {} targets met\n", met, aimed);
  if (json_path.empty()) return;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Result& result : results_) list.push_back(as_json(result));
  std::ofstream(json_path) << list.dump(1) << "\n";
}

}  // namespace kvtape::bench
