// What is inside tapes, as JSON.
#include <iterator>

#include "report/info.h"
#include "report/info_facts.h"
#include "report/json.h"

namespace kvtape {
namespace {

Json named(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

Json real(const std::optional<double>& value) {
  return value ? json_number(*value) : Json();
}

template <typename Enum>
Json word(const std::optional<Enum>& value) {
  return value ? Json(name(*value)) : Json();
}

// What was said; null where the default stands.
Json attention_json(const AttentionSpec& spec) {
  return {{"query_heads", json_optional(spec.query_heads)},
          {"softmax_scale", real(spec.softmax_scale)},
          {"logit_softcap", real(spec.logit_softcap)},
          {"head_map", word(spec.head_map)},
          {"visibility", word(spec.visibility)},
          {"masked_rows", word(spec.masked_rows)}};
}

Json frequencies_json(const std::optional<std::vector<double>>& values) {
  if (!values) return Json();
  Json list = Json::array();
  for (const double value : *values) list.push_back(json_number(value));
  return list;
}

Json rotary_json(const RotarySpec& spec) {
  return {{"keys_rotated", json_optional(spec.keys_rotated)},
          {"queries_rotated", json_optional(spec.queries_rotated)},
          {"style", word(spec.style)},
          {"theta", real(spec.theta)},
          {"dims", json_optional(spec.dims)},
          {"attention_factor", real(spec.attention_factor)},
          {"inv_freq", frequencies_json(spec.inv_freq)}};
}

Json resolved_json(const Cache& cache) {
  const Dimensions sizes = dimensions(cache);
  const std::int64_t dim = sizes.key_dim.value_or(0);
  const Attention attention =
      resolved(cache.attention, sizes.key_heads.value_or(0), dim);
  const Rotary rotary = resolved(cache.rotary, dim);
  return {{"query_heads", attention.query_heads},
          {"softmax_scale", json_number(attention.softmax_scale)},
          {"logit_softcap", json_number(attention.logit_softcap)},
          {"head_map", name(attention.head_map)},
          {"visibility", name(attention.visibility)},
          {"masked_rows", name(attention.masked_rows)},
          {"keys_rotated", rotary.keys_rotated},
          {"queries_rotated", rotary.queries_rotated},
          {"rotary_style", name(rotary.style)},
          {"rotary_dims", rotary.dims},
          {"theta", json_number(rotary.theta)},
          {"attention_factor", json_number(rotary.attention_factor)}};
}

Json storage_json(const Tensor& tensor) {
  if (!tensor.source) return Json();
  const Storage storage = tensor.source->storage();
  return {{"layout", storage.layout},
          {"filters", storage.filters},
          {"mapped", is_mapped(tensor)},
          {"stored_bytes", storage.stored_bytes}};
}

Json quantization_json(const Tensor& tensor) {
  if (!tensor.quantized()) return Json();
  const Quantization& form = tensor.quantization;
  return {{"scheme", stored_as(tensor)},
          {"block_size", form.block_size},
          {"scales", form.scale_count},
          {"scale_dtype", name(form.scale_dtype)},
          {"payload_dtype", name(form.payload_dtype)}};
}

Json tensor_json(const std::optional<Tensor>& tensor) {
  if (!tensor) return Json();
  Json shape = Json::array();
  Json axes = Json::array();
  Json names = Json::array();
  for (const Axis& axis : tensor->axes) {
    shape.push_back(axis.size);
    axes.push_back(name(axis.kind));
    names.push_back(axis.name);
  }
  return {{"dtype", name(tensor->dtype)},
          {"shape", std::move(shape)},
          {"axes", std::move(axes)},
          {"axis_names", std::move(names)},
          {"layer", json_optional(tensor->layer)},
          {"bytes", payload_bytes(*tensor)},
          {"quantization", quantization_json(*tensor)},
          {"storage", storage_json(*tensor)}};
}

Json numbers_json(const std::optional<Tensor>& tensor) {
  return json_optional(readable_integers(tensor));
}

Json layer_json(std::int64_t number, const LayerCache& layer) {
  return {{"layer", number},
          {"layer_index", json_optional(layer.layer_index)},
          {"frozen", json_optional(layer.frozen)},
          {"window", json_optional(layer.window)},
          {"layout", word(layer.layout)},
          {"key", tensor_json(layer.key)},
          {"value", tensor_json(layer.value)},
          {"index", numbers_json(layer.index)},
          {"starts", numbers_json(layer.starts)},
          {"slot_position", tensor_json(layer.slot_position)},
          {"attention", attention_json(layer.attention)},
          {"rotary", rotary_json(layer.rotary)}};
}

Json layers_json(const std::map<std::int64_t, LayerCache>& layers) {
  Json list = Json::array();
  for (const auto& [number, layer] : layers) {
    list.push_back(layer_json(number, layer));
  }
  return list;
}

Json trace_layers_json(const Trace& trace) {
  Json list = Json::array();
  for (const auto& [number, layer] : trace.layers) {
    list.push_back({{"layer", number},
                    {"query", tensor_json(layer.query)},
                    {"key", tensor_json(layer.key)},
                    {"value", tensor_json(layer.value)},
                    {"output", tensor_json(layer.output)},
                    {"attention_mask", tensor_json(layer.attention_mask)},
                    {"start_index", numbers_json(layer.start_index)}});
  }
  return list;
}

Json operations_list(const OperationLog& operations) {
  Json list = Json::array();
  for (const auto& [number, operation] : operations)
    list.push_back({{"number", number},
                    {"operation", operation.kind ? name(*operation.kind) : "?"},
                    {"layer", json_optional(operation.layer)},
                    {"error", json_optional(operation.error)},
                    {"recorded", operation.result.has_value()}});
  return list;
}

Json trace_json(const std::optional<Trace>& trace) {
  if (!trace) return Json();
  const bool in_cache = trace->keys_in == Trace::KeysIn::kCache;
  return {{"keys_in", in_cache ? "cache" : "trace"},
          {"step_lengths", numbers_json(trace->step_lengths)},
          {"start_index", numbers_json(trace->start_index)},
          {"attention_mask", tensor_json(trace->attention_mask)},
          {"token_mask", tensor_json(trace->token_mask)},
          {"positions", tensor_json(trace->positions)},
          {"layers", trace_layers_json(*trace)},
          {"operations", operations_list(trace->operations)}};
}

Json final_json(const std::optional<FinalState>& state) {
  if (!state) return Json();
  return {{"layers", layers_json(state->layers)},
          {"attention_mask", tensor_json(state->attention_mask)}};
}

Json attribute_json(const AttributeValue& value) {
  return std::visit(
      [](const auto& held) -> Json {
        using Held = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<Held, NoValue>)
          return Json();
        else if constexpr (std::is_same_v<Held, double>)
          return json_number(held);
        else
          return Json(held);
      },
      value);
}

Json extras_json(const std::vector<Extra>& extras) {
  Json list = Json::array();
  for (const Extra& extra : extras) {
    Json attributes = Json::object();
    for (const auto& [key, value] : extra.attributes) {
      attributes[key] = attribute_json(value);
    }
    list.push_back({{"path", extra.path},
                    {"attributes", std::move(attributes)},
                    {"tensor", tensor_json(extra.tensor)}});
  }
  return list;
}

Json file_json(const NamedTape& entry) {
  const Tape& tape = entry.tape;
  const Cache& cache = tape.cache;
  return {{"file", entry.file},
          {"bytes", entry.file_bytes},
          {"format", "kvtape"},
          {"format_version", 1},
          {"source", named(tape.source)},
          {"producer", named(tape.producer)},
          {"model", named(tape.model)},
          {"metadata", metadata_json(cache.metadata)},
          {"attention", attention_json(cache.attention)},
          {"rotary", rotary_json(cache.rotary)},
          {"resolved", resolved_json(cache)},
          {"layers", layers_json(cache.layers)},
          {"absent_layers", absent_layers(cache)},
          {"attention_mask", tensor_json(cache.attention_mask)},
          {"tokens", tensor_json(cache.tokens)},
          {"trace", trace_json(tape.trace)},
          {"final", final_json(tape.final_state)},
          {"extras", extras_json(tape.extras)},
          {"findings", findings_json(tape.findings)}};
}

}  // namespace

std::string info_json(const std::vector<NamedTape>& tapes) {
  Json files = Json::array();
  for (const NamedTape& tape : tapes) files.push_back(file_json(tape));
  return json_text({{"schema", "kvtape.info/1"}, {"files", files}});
}

}  // namespace kvtape
