// CacheMetadata::create against every row that EasyDeL itself gave.
#include "kvtape/metadata.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "kvtape/error.h"

namespace kvtape {
namespace {

using Json = nlohmann::json;

Json golden_rows() {
  std::ifstream file(std::string(std::getenv("KVTAPE_TESTDATA")) +
                     "/goldens/easydel_metadata.json");
  return Json::parse(file).at("rows");
}

std::optional<std::int64_t> field(const Json& record, const char* name) {
  const auto found = record.find(name);
  if (found == record.end() || found->is_null()) return std::nullopt;
  return found->get<std::int64_t>();
}

CacheMetadata metadata_of(const Json& record) {
  return {.batch_size = record.at("batch_size"),
          .sequence_length = record.at("sequence_length"),
          .num_hidden_layers = record.at("num_hidden_layers"),
          .pad_token_id = field(record, "pad_token_id"),
          .num_heads = field(record, "num_heads"),
          .head_dim = field(record, "head_dim"),
          .key_heads = field(record, "key_heads"),
          .value_heads = field(record, "value_heads"),
          .key_dim = field(record, "key_dim"),
          .value_dim = field(record, "value_dim"),
          .update_causal_mask = record.value("update_causal_mask", true),
          .create_attention_bias = record.value("create_attention_bias", true)};
}

// Rows about Python's types (a fraction, None, a missing argument) have no
// counterpart in a typed record.
bool about_types(const Json& row) {
  const Json& inputs = row.at("inputs");
  return !inputs.at("batch_size").is_number_integer() ||
         !inputs.contains("pad_token_id");
}

TEST_CASE("create gives what EasyDeL gives, row by row") {
  int rows = 0;
  for (const Json& row : golden_rows()) {
    if (about_types(row)) continue;
    ++rows;
    CAPTURE(row.dump());
    const CacheMetadata given = metadata_of(row.at("inputs"));
    if (row.contains("error")) {
      CHECK_THROWS_WITH(CacheMetadata::create(given),
                        row["error"]["message"].get<std::string>());
    } else {
      CHECK(CacheMetadata::create(given) == metadata_of(row.at("result")));
    }
  }
  CHECK(rows == 26);
}

CacheMetadata sound() {
  return {.batch_size = 2,
          .sequence_length = 16,
          .num_hidden_layers = 2,
          .num_heads = 4,
          .head_dim = 8};
}

TEST_CASE("strict mode refuses what EasyDeL lets through") {
  constexpr auto kStrict = CacheMetadata::Mode::kStrict;
  CHECK(CacheMetadata::create(sound(), kStrict).key_dim == 8);

  CacheMetadata negative = sound();
  negative.head_dim = -8;
  CHECK(CacheMetadata::create(negative).key_dim == -8);
  CHECK_THROWS_WITH(
      CacheMetadata::create(negative, kStrict),
      "/metadata: head_dim: expected a positive number, found -8");

  CacheMetadata no_layers = sound();
  no_layers.num_hidden_layers = 0;
  CHECK_THROWS_AS(CacheMetadata::create(no_layers, kStrict), Error);

  CacheMetadata uneven = sound();
  uneven.key_heads = 3;
  CHECK(CacheMetadata::create(uneven).key_heads == 3);
  CHECK_THROWS_WITH(CacheMetadata::create(uneven, kStrict),
                    "/metadata: num_heads: expected a multiple of key_heads "
                    "(3), found 4");
}

}  // namespace
}  // namespace kvtape
