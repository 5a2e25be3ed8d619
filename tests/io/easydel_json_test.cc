// Every row of testdata/goldens/easydel_json.json, what real EasyDeL's to_json
// and from_json give: records are imitated, arrays printed as text refused.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kvtape/easydel.h"
#include "kvtape/error.h"
#include "kvtape/pure.h"
#include "kvtape/serialize.h"

namespace kvtape {
namespace {

using namespace easydel;

nlohmann::json row(const std::string& name) {
  std::ifstream file(std::string(std::getenv("KVTAPE_TESTDATA")) +
                     "/goldens/easydel_json.json");
  const auto rows = nlohmann::json::parse(file);
  for (const nlohmann::json& entry : rows.at("entries"))
    if (entry.at("name") == name) return entry;
  FAIL("no row " << name);
  return {};
}

std::string text(const std::string& name) { return row(name).at("value"); }

template <typename T>
std::string refusal(const std::string& json) {
  try {
    from_json<T>(json);
  } catch (const Error& error) {
    return error.what();
  }
  return "read";
}

const CacheMetadata kMetadata = CacheMetadata::create({.batch_size = 2,
                                                       .sequence_length = 4,
                                                       .num_hidden_layers = 3,
                                                       .pad_token_id = 0,
                                                       .num_heads = 2,
                                                       .head_dim = 4});

// What the rows of init_cache say of a view.
nlohmann::json facts(const TransformerCacheView& view) {
  const auto sizes = [](const Tensor& tensor) {
    std::vector<std::int64_t> result;
    for (const Axis& axis : tensor.axes) result.push_back(axis.size);
    return result;
  };
  const auto kind = [](const Tensor& tensor) {
    return tensor.quantized() ? "Array8B" : "Array";
  };
  return {{"k_shape", sizes(*view.key)},
          {"v_shape", sizes(*view.value)},
          {"dtype", view.key->dtype == DType::kBF16 ? "bfloat16" : "float32"},
          {"kind", kind(*view.key)},
          {"vkind", kind(*view.value)},
          {"index", integers(view.index)},
          {"index_dtype", view.index.dtype == DType::kI32 ? "int32" : "other"},
          {"starts", integers(view.starts)},
          {"layer_index", *view.layer_index}};
}

nlohmann::json all_facts(DType dtype, const EasyQuantizer& quantizer) {
  nlohmann::json result;
  // NF4 leaves these sizes as they are, which is what the row shows.
  const TransformerCache cache = TransformerCache::init_cache(
      kMetadata, dtype, {}, quantizer, Mode::kFaithful);
  for (const auto& view : cache.views) result.push_back(facts(*view));
  return result;
}

TEST_CASE("EasyDeL's records are read and written as it does") {
  const std::string metadata = text("metadata.to_json");
  CHECK(to_json(from_json<CacheMetadata>(metadata)) == metadata);
  const std::string runtime = text("runtime.to_json index");
  CHECK(to_json(from_json<TransformerMetadata>(runtime)) == runtime);
  CHECK(to_json(TransformerMetadata{}) ==
        "{\"postpadded\": false, \"index\": null}");
  const std::string empty = text("init_empty(0).to_json");
  CHECK(to_json(TransformerCache::init_empty(0)) == empty);
  CHECK(from_json<TransformerCache>(empty).size() == 0);
  const std::string none = text("view with None key");
  CHECK(to_json(from_json<TransformerCacheView>(none)) == none);
  CHECK(from_json<TransformerCacheView>(none).is_empty());
}

TEST_CASE("arrays that EasyDeL printed cannot be read back") {
  for (const char* name : {"cache.to_json", "view NaN/inf array"}) {
    const std::string json = text(name);
    const bool whole = json.starts_with("{\"views\"");
    const std::string said = whole ? refusal<TransformerCache>(json)
                                   : refusal<TransformerCacheView>(json);
    CAPTURE(said);
    CHECK(said.find("printed as text") != std::string::npos);
    CHECK(said.find("key") != std::string::npos);
    CHECK((said.find("views[0]") != std::string::npos) == whole);
  }
  for (const char* name : {"view f16", "quantized view text (A8BIT)"}) {
    Dict view = parse_json(text("view with None key"));
    view["value"] = text(name);
    CHECK(
        refusal<TransformerCacheView>(to_json(view)).find("printed as text") !=
        std::string::npos);
  }
}

TEST_CASE("a cache comes back typed, where EasyDeL gives dicts and texts") {
  CHECK(row("from_json(cache.to_json()) types").at("value").at(1) == "str");
  const auto cache = TransformerCache::init_cache(kMetadata, DType::kF16);
  const std::string json = to_json(cache);
  const auto back = from_json<TransformerCache>(json);
  CHECK(to_json(back) == json);
  CHECK(facts(*back[2]) == facts(*cache[2]));
  CHECK(back[2]->key->dtype == DType::kF16);
}

TEST_CASE("1,000 elements stand there in full") {
  CHECK(row("view 1000 elements length").at("value") == 5072);
  CacheMetadata large = kMetadata;
  large.sequence_length = 500;  // EasyDeL prints "..." from here on
  const auto cache = TransformerCache::init_cache(large, DType::kF32);
  CHECK(to_dict(*cache[0]).at("key").at("data").size() == 2 * 500 * 2 * 4);
}

TEST_CASE("records that EasyDeL cannot read either, or should not") {
  CHECK(refusal<CacheMetadata>(text("metadata inf scalar")).find("no JSON") !=
        std::string::npos);
  CHECK(refusal<CacheMetadata>(text("metadata ellipsis")) ==
        "/metadata: expected all of its twelve fields, found none named "
        "pad_token_id");
  const std::string message =
      row("from_json missing key").at("error").at("message");
  const std::string said = refusal<CacheMetadata>("{\"batch_size\": 1}");
  const Dict record = to_dict(CacheMetadata{});
  for (const auto& [key, value] : record.items()) {
    if (key == "batch_size") continue;
    CHECK(message.find("'" + key + "'") != std::string::npos);
    CHECK(said.find(key) != std::string::npos);
  }
}

// Later versions of EasyDeL have renamed index to indexs.
TEST_CASE("an index of another name is not taken for none") {
  const auto cache = TransformerCache::init_cache(
      CacheMetadata::create({.batch_size = 1,
                             .sequence_length = 2,
                             .num_hidden_layers = 1,
                             .num_heads = 1,
                             .head_dim = 2}));
  Dict dict = to_dict(*cache[0]);
  dict["indexs"] = dict.at("index");
  dict.erase("index");
  CHECK_THROWS_WITH(from_dict<TransformerCacheView>(dict, Keys::kStrict),
                    Catch::Contains("index"));
  CHECK_THROWS_WITH(from_dict<TransformerCacheView>(dict, Keys::kEasyDel),
                    Catch::Contains("index"));
}

TEST_CASE("a cache of no layers has a pure form, where EasyDeL fails") {
  CHECK(row("to_pure of empty views").at("error").at("error_type") ==
        "IndexError");
  CHECK(to_pure(to_cache(TransformerCache::init_empty(0))).layers.empty());
}

TEST_CASE("init_cache of each quantizer") {
  CHECK(all_facts(DType::kBF16, kNoQuantizer) ==
        row("init_cache default dtype").at("value"));
  CHECK(all_facts(DType::kF32, {EasyDeLQuantizationMethods::kA8Bit}) ==
        row("init_cache A8BIT").at("value"));
  CHECK(all_facts(DType::kF32, {}) ==
        row("init_cache NF4 default block 256: not divisible -> unquantized")
            .at("value"));
}

}  // namespace
}  // namespace kvtape
