// penzai's attention with and without a cache.
#include <fmt/format.h>

#include <utility>

#include "kvtape/error.h"
#include "kvtape/penzai.h"
#include "systems/array.h"
#include "systems/penzai_array.h"
#include "systems/silent.h"

namespace kvtape::penzai {
namespace {

std::int64_t end_index_of(const SideInputs& inputs, const std::string& name) {
  const auto found = inputs.find(name);
  if (found == inputs.end())
    throw Error({.field = "side input", .text = "no '" + name + "' is given"});
  const auto values = integers(found->second);
  if (values.size() != 1)
    throw Error({.field = name,
                 .expected = "a scalar",
                 .found = dict_text(named_shape(found->second))});
  return values[0];
}

// Where `count` new tokens would go, refused unless they go there.
void check_write(const NamedArray& cache, const NamedArray& block,
                 const std::string& axis, std::int64_t end_index) {
  const NamedShape old = named_shape(cache);
  const auto length = size_of(old, axis);
  const auto count = size_of(named_shape(block), axis);
  if (!length || !count || *count > *length) return;  // an Error in any mode
  const std::int64_t start = clamped_start(end_index, *length, *count);
  if (start != end_index)
    refuse_silent(
        {.field = axis,
         .expected = fmt::format("slots below {}", *length),
         .found = fmt::format("a write to slots [{}, {})", end_index,
                              end_index + *count)},
        fmt::format("penzai writes to slots [{}, {})", start, start + *count));
  for (const NamedAxis& each : named_shape(block))
    if (!size_of(old, each.name))
      refuse_silent({.field = "kv_cache",
                     .expected = "the axes of " + dict_text(old),
                     .found = "'" + each.name + "' too"},
                    "penzai's cache gains the axis");
  for (const NamedAxis& each : old)
    if (!size_of(named_shape(block), each.name))
      refuse_silent({.field = "kv_cache",
                     .expected = "tokens with the axes of " + dict_text(old),
                     .found = "none for '" + each.name + "'"},
                    "penzai writes the same tokens all along the axis");
}

const Linear* linear_of(const Sequential& part, bool last) {
  const Linear* found = nullptr;
  for (const Sublayer& sublayer : part.sublayers)
    if (const auto* linear = std::get_if<Linear>(&sublayer)) {
      if (!last && found != nullptr) break;
      found = linear;
    }
  return found;
}

ArraySpec spec_of(const Linear* linear, const std::string& sequence_axis,
                  bool output) {
  ArraySpec spec{{{.axis = sequence_axis, .size = {}}}};
  if (linear == nullptr) return spec;
  for (const std::string& axis :
       output ? linear->out_axis_names : linear->in_axis_names)
    spec.named_shape.push_back(
        {.axis = axis, .size = size_of(named_shape(linear->weights), axis)});
  return spec;
}

void check_structure(const char* what, std::string_view type,
                     const NamedArray& array, const ArraySpec& spec) {
  const NamedShape shape = named_shape(array);
  for (const auto& [axis, size] : spec.named_shape) {
    const auto found = size_of(shape, axis);
    if (found && (!size || *size == *found) && is_float(array.dtype)) continue;
    throw Error({.object = std::string(type),
                 .field = what,
                 .expected = text(spec),
                 .found = std::string(name(array.dtype)) + dict_text(shape)});
  }
}

}  // namespace

NamedArray Attention::operator()(const NamedArray& x,
                                 const SideInputs& inputs) const {
  const NamedArray query = input_to_query(x, inputs);
  const NamedArray key = input_to_key(x, inputs);
  const NamedArray value = input_to_value(x, inputs);
  const NamedArray attn = query_key_to_attn(query, key, inputs);
  return attn_value_to_output(attn, value, inputs);
}

KVCachingAttention KVCachingAttention::from_uncached(
    const Attention& original, const std::string& sequence_axis,
    std::int64_t cache_len, const NamedShape& cached_axes,
    const std::string& cache_end_index, const std::string& cache_label,
    DType cache_dtype, Mode mode) {
  NamedShape axes = cached_axes;
  if (const auto given = size_of(axes, sequence_axis)) {
    if (mode == Mode::kChecked)
      refuse_silent({.field = "cached_axes",
                     .expected = "all axes but the sequence axis",
                     .found = fmt::format("'{}': {}", sequence_axis, *given)},
                    fmt::format("penzai makes it {}", cache_len));
    for (NamedAxis& axis : axes)
      if (axis.name == sequence_axis) axis.size = cache_len;
  } else {
    axes.push_back({.name = sequence_axis, .size = cache_len});
  }
  Tensor empty = zeros(axes, cache_dtype);
  for (Axis& axis : empty.axes)
    if (axis.name == sequence_axis) axis.kind = AxisKind::kPosition;
  return {.input_to_query = original.input_to_query,
          .input_to_key = original.input_to_key,
          .input_to_value = original.input_to_value,
          .query_key_to_attn = original.query_key_to_attn,
          .attn_value_to_output = original.attn_value_to_output,
          .sequence_axis = sequence_axis,
          .kv_cache_end_index = cache_end_index,
          .kv_cache = {.key = empty, .value = empty, .label = cache_label}};
}

NamedArray KVCachingAttention::operator()(const NamedArray& x,
                                          const SideInputs& inputs, Mode mode) {
  check_structure("input_structure", type, x, input_structure());
  const std::int64_t end_index = end_index_of(inputs, kv_cache_end_index);
  const NamedArray query = input_to_query(x, inputs);
  const NamedArray key = input_to_key(x, inputs);
  const NamedArray value = input_to_value(x, inputs);
  if (mode == Mode::kChecked) {
    check_write(kv_cache.key, key, sequence_axis, end_index);
    check_write(kv_cache.value, value, sequence_axis, end_index);
  }
  KVCache updated{
      .key = dynamic_update_slice(kv_cache.key, key, sequence_axis, end_index),
      .value =
          dynamic_update_slice(kv_cache.value, value, sequence_axis, end_index),
      .label = kv_cache.label};
  const NamedArray attn = query_key_to_attn(query, updated.key, inputs);
  const NamedArray result = attn_value_to_output(attn, updated.value, inputs);
  check_structure("output_structure", type, result, output_structure());
  kv_cache = std::move(updated);
  return result;
}

ArraySpec KVCachingAttention::input_structure() const {
  return spec_of(linear_of(input_to_query, false), sequence_axis, false);
}

ArraySpec KVCachingAttention::output_structure() const {
  return spec_of(linear_of(attn_value_to_output, true), sequence_axis, true);
}

KVCachingAttention GemmaKVCachingAttention::from_uncached(
    const Attention& original, std::int64_t cache_len,
    const NamedShape& cached_axes, DType cache_dtype, Mode mode) {
  KVCachingAttention layer = KVCachingAttention::from_uncached(
      original, "seq", cache_len, cached_axes, "cache_end_index", "kv_cache",
      cache_dtype, mode);
  layer.type = kGemmaAttention;
  return layer;
}

}  // namespace kvtape::penzai
