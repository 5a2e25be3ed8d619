#include "kvtape/validate.h"

#include <algorithm>
#include <array>

#include "ops/validate_checks.h"

namespace kvtape {
namespace {

void check_structure(const Tape& tape, Findings& findings) {
  check_presence(tape.cache, findings);
  check_shapes(tape.cache, findings);
  check_quantized(tape.cache, findings);
  check_marks(tape.cache, findings);
  check_agreement(tape.cache, findings);
  check_masks(tape.cache, findings);
  check_attention(tape.cache, findings);
  check_trace(tape, findings);
  check_operations(tape, findings);
  check_final(tape, findings);
}

void check_values(const Tape& tape, const ValidateOptions& options,
                  Findings& findings) {
  ThreadPool pool(options.threads);
  check_slots(tape, pool, options.progress, findings);
  check_small_values(tape, findings);
  check_codes(tape.cache, findings);
  check_recorded_values(tape, pool, findings);
}

bool is_tried(const Rule& rule, const ValidateOptions& options) {
  constexpr auto kOfMetadata = std::to_array<std::string_view>(
      {"E01", "E02", "E10", "E11", "E12", "E13", "E14", "E15", "E16", "W01",
       "W10", "W11"});
  if (!options.metadata_only) return options.values || !rule.values;
  return std::find(kOfMetadata.begin(), kOfMetadata.end(), rule.id) !=
         kOfMetadata.end();
}

}  // namespace

ValidationReport validate(const Tape& tape, const ValidateOptions& options) {
  Findings findings(tape.findings);
  check_metadata(tape.cache.metadata, findings);
  if (!options.metadata_only) check_structure(tape, findings);
  if (!options.metadata_only && options.values)
    check_values(tape, options, findings);
  const auto rules = validation_rules();
  const auto tried =
      std::count_if(rules.begin(), rules.end(),
                    [&](const Rule& rule) { return is_tried(rule, options); });
  return {.findings = std::move(findings).sorted(),
          .rules = static_cast<int>(tried),
          .values = options.values};
}

}  // namespace kvtape
