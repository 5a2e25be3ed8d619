// Checks of /metadata: what EasyDeL's create() refuses, and what it should.
#include <array>
#include <utility>

#include "ops/validate_checks.h"

namespace kvtape {
namespace {

using Size = std::optional<std::int64_t>;

constexpr const char* kObject = "/metadata";

std::string text(Size size) { return size ? std::to_string(*size) : "None"; }

void check_positive(const char* rule, const char* field, std::int64_t size,
                    Findings& findings) {
  if (size > 0) return;
  findings.add({.rule = rule,
                .object = kObject,
                .field = field,
                .expected = "a positive number",
                .found = std::to_string(size)});
}

// A size, or the two that stand for it.
void check_given(const char* rule, std::pair<const char*, Size> both,
                 std::pair<const char*, Size> key,
                 std::pair<const char*, Size> value, Findings& findings) {
  if (both.second || (key.second && value.second)) return;
  findings.add({.rule = rule,
                .object = kObject,
                .field = both.first,
                .expected = std::string(both.first) + ", or both " + key.first +
                            " and " + value.first,
                .found = std::string(key.first) + " " + text(key.second) +
                         ", " + value.first + " " + text(value.second)});
}

// Negative sizes pass create(); 0 passes as "missing" beside `fallback`.
void check_size(const char* field, Size size, Size fallback,
                Findings& findings) {
  if (!size || *size > 0) return;
  const bool replaced = *size == 0 && fallback.value_or(0) > 0;
  findings.add({.rule = replaced ? "W10" : "E15",
                .object = kObject,
                .field = field,
                .expected = replaced ? "None or " + text(fallback)
                                     : std::string("a positive number"),
                .found = std::to_string(*size)});
}

void check_heads(const CacheMetadata& m, Findings& findings) {
  const Sizes sizes = sizes_of(m);
  if (m.num_heads.value_or(0) > 0 && sizes.key_heads &&
      *m.num_heads % *sizes.key_heads != 0)
    findings.add(
        {.rule = "E16",
         .object = kObject,
         .field = "num_heads",
         .expected = "a multiple of key_heads (" + text(sizes.key_heads) + ")",
         .found = text(m.num_heads)});
  if (sizes.key_heads && sizes.value_heads &&
      sizes.key_heads != sizes.value_heads)
    findings.add({.rule = "W11",
                  .object = kObject,
                  .field = "value_heads",
                  .expected = text(sizes.key_heads) + ", as key_heads",
                  .found = text(sizes.value_heads)});
}

}  // namespace

void check_metadata(const CacheMetadata& m, Findings& findings) {
  check_positive("E10", "batch_size", m.batch_size, findings);
  check_positive("E11", "sequence_length", m.sequence_length, findings);
  check_positive("E12", "num_hidden_layers", m.num_hidden_layers, findings);
  check_given("E13", {"head_dim", m.head_dim}, {"key_dim", m.key_dim},
              {"value_dim", m.value_dim}, findings);
  check_given("E14", {"num_heads", m.num_heads}, {"key_heads", m.key_heads},
              {"value_heads", m.value_heads}, findings);
  check_size("num_heads", m.num_heads, {}, findings);
  check_size("head_dim", m.head_dim, {}, findings);
  check_size("key_heads", m.key_heads, m.num_heads, findings);
  check_size("value_heads", m.value_heads, m.num_heads, findings);
  check_size("key_dim", m.key_dim, m.head_dim, findings);
  check_size("value_dim", m.value_dim, m.head_dim, findings);
  check_heads(m, findings);
}

}  // namespace kvtape
