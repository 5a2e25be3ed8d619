// Checks of /final: the recorded cache after the last step of the trace.
#include <fmt/format.h>

#include "ops/validate_checks.h"

namespace kvtape {
namespace {

// Tokens that the trace adds to the cache; nothing where that is not known.
std::optional<std::int64_t> added_tokens(const Tape& tape) {
  if (!tape.trace) return {};
  if (tape.trace->keys_in == Trace::KeysIn::kCache) return 0;
  const auto lengths = small_integers(tape.trace->step_lengths);
  if (!lengths) return {};
  std::int64_t sum = 0;
  for (const std::int64_t length : *lengths)
    if (length <= 0 || __builtin_add_overflow(sum, length, &sum)) return {};
  return sum;
}

struct Context {
  const std::string path;  // "/final/layers/0"
  const LayerCache& before;
  const LayerCache& after;
  std::optional<std::int64_t> added;  // positions, 0 for a frozen layer
  Findings& findings;
};

void report(const Context& in, const char* leaf, const char* field,
            std::string expected, std::string found) {
  in.findings.add({.rule = "E55",
                   .object = in.path + leaf,
                   .field = field,
                   .expected = std::move(expected),
                   .found = std::move(found)});
}

void check_tensor(const Context& in, const char* leaf,
                  const std::optional<Tensor>& before,
                  const std::optional<Tensor>& after) {
  if (!before || !after) return;
  if (!has_usable_axes(*after) || !is_float(after->dtype))
    return report(in, leaf, "axes", "floats with the axes of the cache",
                  shape_text(*after));
  Extents want = extents_of(*before);
  const Extents has = extents_of(*after);
  if (layout_of(in.before) == Layout::kGrowing)
    want.position = in.added ? want.position + *in.added : has.position;
  if (has.batch == want.batch && has.position == want.position &&
      has.heads == want.heads && has.dims == want.dims)
    return;
  report(in, leaf, "shape",
         fmt::format("batch {}, position {}, head {}, dim {}", want.batch,
                     want.position, want.heads, want.dims),
         fmt::format("batch {}, position {}, head {}, dim {}", has.batch,
                     has.position, has.heads, has.dims));
}

// Integers, one per row; otherwise a finding and nothing.
std::optional<std::vector<std::int64_t>> row_numbers(
    const Context& in, const char* leaf, const std::optional<Tensor>& tensor) {
  if (!tensor) return {};
  const std::int64_t rows = extents_of(*either(in.before)).batch;
  auto numbers = small_integers(tensor);
  const bool known = numbers || is_absent(*tensor);
  if (known && element_count(*tensor) == rows) return numbers;
  report(in, leaf, "shape", fmt::format("i32 [{}]", rows),
         fmt::format("{} {}", name(tensor->dtype), shape_text(*tensor)));
  return {};
}

void check_index(const Context& in) {
  const auto after = row_numbers(in, "/index", in.after.index);
  row_numbers(in, "/starts", in.after.starts);
  const auto before = small_integers(in.before.index);
  if (!after || !before || !in.added || before->size() != after->size()) return;
  for (std::size_t row = 0; row < after->size(); ++row) {
    std::int64_t want = 0;
    const bool fits = !__builtin_add_overflow((*before)[row], *in.added, &want);
    if (fits && (*after)[row] == want) continue;
    in.findings.add(
        {.rule = "W32",
         .object = in.path + "/index",
         .field = "values",
         .expected = fmt::format("{} + {}", (*before)[row], *in.added),
         .found = fmt::format("{} in row {}", (*after)[row], row)});
    return;
  }
}

}  // namespace

void check_final(const Tape& tape, Findings& findings) {
  if (!tape.final_state) return;
  const auto added = added_tokens(tape);
  const bool logged = tape.trace && has_only_operations(*tape.trace);
  for (const auto& [number, after] : tape.final_state->layers) {
    const std::string path = "/final" + layer_path(number);
    const auto before = tape.cache.layers.find(number);
    if (before == tape.cache.layers.end()) {
      findings.add({.rule = "E55",
                    .object = path,
                    .field = "layer",
                    .expected = "a layer of the cache",
                    .found = "no " + layer_path(number)});
      continue;
    }
    if (!is_usable(before->second)) continue;
    const bool frozen = before->second.frozen.value_or(false);
    const Context in{
        .path = path,
        .before = before->second,
        .after = after,
        .added = frozen && !logged ? std::optional<std::int64_t>(0) : added,
        .findings = findings};
    check_tensor(in, "/key", before->second.key, after.key);
    check_tensor(in, "/value", before->second.value, after.value);
    check_index(in);
  }
}

}  // namespace kvtape
