// TransformerCacheMetaData.create of EasyDeL, and a strict form.
#include "kvtape/metadata.h"

#include <utility>

#include "kvtape/error.h"

namespace kvtape {
namespace {

using Field = std::optional<std::int64_t>;

void require(bool holds, const char* message) {
  if (!holds) throw Error({.text = message});
}

// Python's `field or fallback`: 0 counts as missing, and `None or 0` is 0.
Field or_else(Field field, Field fallback) {
  return field.value_or(0) != 0 ? field : fallback;
}

void check_as_easydel(const CacheMetadata& m) {
  require(m.batch_size > 0, "batch_size must be positive");
  require(m.sequence_length > 0, "sequence_length must be positive");
  require(m.head_dim || (m.key_dim && m.value_dim),
          "Either head_dim or both key_dim and value_dim must be specified");
  require(m.num_heads || (m.key_heads && m.value_heads),
          "Either num_heads or both key_heads and value_heads must be "
          "specified");
}

void check_positive(const char* name, Field field) {
  if (field.value_or(1) <= 0)
    throw Error({.object = "/metadata",
                 .field = name,
                 .expected = "a positive number",
                 .found = std::to_string(*field)});
}

void check_strict(const CacheMetadata& m) {
  check_positive("num_hidden_layers", m.num_hidden_layers);
  for (const auto& [name, field] : {std::pair{"num_heads", m.num_heads},
                                    {"head_dim", m.head_dim},
                                    {"key_heads", m.key_heads},
                                    {"value_heads", m.value_heads},
                                    {"key_dim", m.key_dim},
                                    {"value_dim", m.value_dim}})
    check_positive(name, field);
  if (m.num_heads && m.key_heads && *m.num_heads % *m.key_heads != 0)
    throw Error({.object = "/metadata",
                 .field = "num_heads",
                 .expected = "a multiple of key_heads (" +
                             std::to_string(*m.key_heads) + ")",
                 .found = std::to_string(*m.num_heads)});
}

}  // namespace

CacheMetadata CacheMetadata::create(const CacheMetadata& given, Mode mode) {
  check_as_easydel(given);
  if (mode == Mode::kStrict) check_strict(given);
  CacheMetadata result = given;
  if (given.head_dim) {
    result.key_dim = or_else(given.key_dim, given.head_dim);
    result.value_dim = or_else(given.value_dim, given.head_dim);
  }
  if (given.num_heads) {
    result.key_heads = or_else(given.key_heads, given.num_heads);
    result.value_heads = or_else(given.value_heads, given.num_heads);
  }
  if (mode == Mode::kStrict) check_strict(result);
  return result;
}

}  // namespace kvtape
