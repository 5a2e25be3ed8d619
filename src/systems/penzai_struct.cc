// penzai's Struct: fields, children, named leaves.
#include <algorithm>
#include <utility>

#include "kvtape/error.h"
#include "kvtape/penzai.h"
#include "systems/penzai_array.h"

namespace kvtape::penzai {
namespace {

struct StaticField {
  std::string name;
  bool child = true;
};

// In the order of the class.
std::vector<StaticField> fields_of(std::string_view type) {
  const bool v2 = type == kV2Attention;
  return {{"input_to_query"},
          {"input_to_key"},
          {"input_to_value"},
          {"query_key_to_attn"},
          {"attn_value_to_output"},
          {"sequence_axis", false},
          {v2 ? "kv_cache_end_index_key" : "kv_cache_end_index", !v2},
          {"kv_cache"}};
}

std::string set_text(const std::vector<std::string>& names) {
  std::string result = "{";
  for (const std::string& name : names)
    result += (result.size() > 1 ? ", '" : "'") + name + "'";
  return result + "}";
}

void check_fields(const Attributes& fields, std::string_view type) {
  std::vector<std::string> expected, given;
  for (const StaticField& field : fields_of(type))
    expected.push_back(field.name);
  for (const auto& [name, value] : fields) given.push_back(name);
  std::vector<std::string> sorted = given;
  std::vector<std::string> wanted = expected;
  std::sort(sorted.begin(), sorted.end());
  std::sort(wanted.begin(), wanted.end());
  if (sorted != wanted)
    throw Error({.text = "Incorrect fields provided to `from_attributes`; "
                         "expected " +
                         set_text(expected) + ", got " + set_text(given)});
}

template <typename T>
T field_as(const Attributes& fields, const std::string& name) {
  for (const auto& [each, value] : fields)
    if (each == name) {
      if (const T* found = std::get_if<T>(&value)) return *found;
      throw Error({.field = name,
                   .expected = "a value of the field's type",
                   .found = "another"});
    }
  return {};
}

// The leaves of sublayers: each calls `visit` with a name and what is there.

template <typename Visit>
void visit_leaves(Linear& layer, const Visit& visit) {
  visit(".weights", layer.weights);
}
template <typename Visit>
void visit_leaves(ConstantRescale& layer, const Visit& visit) {
  visit(".by", layer.by);
}
template <typename Visit>
void visit_leaves(RMSStandardize& layer, const Visit& visit) {
  visit(".epsilon", layer.epsilon);
}
template <typename Visit>
void visit_leaves(TanhSoftCap& layer, const Visit& visit) {
  visit(".soft_cap", layer.soft_cap);
}
template <typename Visit>
void visit_leaves(ApplyAttentionMask& layer, const Visit& visit) {
  visit(".masked_out_value", layer.masked_out_value);
}
template <typename Visit>
void visit_leaves(ApplyCausalAttentionMask& layer, const Visit& visit) {
  visit(".masked_out_value", layer.masked_out_value);
}
template <typename Visit>
void visit_leaves(ApplyCausalSlidingWindowAttentionMask& layer,
                  const Visit& visit) {
  visit(".masked_out_value", layer.masked_out_value);
  visit(".sliding_window_size", layer.sliding_window_size);
}
template <typename Layer, typename Visit>
void visit_leaves(Layer&, const Visit&) {}  // static fields only

template <typename Visit>
void visit_leaves(KVCachingAttention& layer, const Visit& visit) {
  const std::vector<std::pair<std::string, Sequential*>> parts = {
      {".input_to_query", &layer.input_to_query},
      {".input_to_key", &layer.input_to_key},
      {".input_to_value", &layer.input_to_value},
      {".query_key_to_attn", &layer.query_key_to_attn},
      {".attn_value_to_output", &layer.attn_value_to_output}};
  for (const auto& [path, part] : parts)
    for (std::size_t i = 0; i < part->sublayers.size(); ++i) {
      const std::string start = path + ".sublayers[" + std::to_string(i) + "]";
      std::visit(
          [&](auto& sublayer) {
            visit_leaves(sublayer, [&](const char* field, auto& value) {
              visit(start + field, value);
            });
          },
          part->sublayers[i]);
    }
  visit(".kv_cache.value[0]", layer.kv_cache.key);
  visit(".kv_cache.value[1]", layer.kv_cache.value);
}

NamedArray array_with(double value, DType dtype) {
  return array_of({.dtype = dtype, .axes = {}, .values = {value}});
}

NamedArray as_array(const NamedArray& value) { return value; }
NamedArray as_array(const Constant& value) {
  return array_with(value.value, value.dtype);
}
NamedArray as_array(double value) { return array_with(value, DType::kF64); }
NamedArray as_array(std::int64_t value) {
  return array_with(static_cast<double>(value), DType::kI64);
}

double number_of(const Leaf& leaf) {
  const Values values = values_of(leaf.array);
  if (values.axes.empty()) return values.values[0];
  throw Error({.object = leaf.path,
               .expected = "a scalar",
               .found = dict_text(values.axes)});
}

void take(const Leaf& leaf, NamedArray& value) { value = leaf.array; }
void take(const Leaf& leaf, Constant& value) {
  value = {.value = number_of(leaf), .dtype = leaf.array.dtype};
}
void take(const Leaf& leaf, double& value) { value = number_of(leaf); }
void take(const Leaf& leaf, std::int64_t& value) {
  value = static_cast<std::int64_t>(number_of(leaf));
}

}  // namespace

Attributes KVCachingAttention::attributes_dict() const {
  const auto names = fields_of(type);
  return {
      {names[0].name, input_to_query},       {names[1].name, input_to_key},
      {names[2].name, input_to_value},       {names[3].name, query_key_to_attn},
      {names[4].name, attn_value_to_output}, {names[5].name, sequence_axis},
      {names[6].name, kv_cache_end_index},   {names[7].name, kv_cache}};
}

KVCachingAttention KVCachingAttention::from_attributes(const Attributes& fields,
                                                       std::string_view type) {
  check_fields(fields, type);
  const auto names = fields_of(type);
  const auto part = [&](std::size_t i) {
    return field_as<Sequential>(fields, names[i].name);
  };
  return {.input_to_query = part(0),
          .input_to_key = part(1),
          .input_to_value = part(2),
          .query_key_to_attn = part(3),
          .attn_value_to_output = part(4),
          .sequence_axis = field_as<std::string>(fields, names[5].name),
          .kv_cache_end_index = field_as<std::string>(fields, names[6].name),
          .kv_cache = field_as<KVCache>(fields, names[7].name),
          .type = type};
}

std::string KVCachingAttention::key_for_field(const std::string& field_name) {
  return "." + field_name;  // as jax.tree_util prints a GetAttrKey
}

std::pair<std::vector<Field>, StructStaticMetadata>
KVCachingAttention::tree_flatten() const {
  std::pair<std::vector<Field>, StructStaticMetadata> result;
  const auto kinds = fields_of(type);
  const Attributes fields = attributes_dict();
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!kinds[i].child) {
      result.second.static_fields.push_back(fields[i]);
      continue;
    }
    result.second.child_field_names.push_back(fields[i].first);
    result.first.push_back(fields[i].second);
  }
  return result;
}

std::pair<Attributes, StructStaticMetadata>
KVCachingAttention::tree_flatten_with_keys() const {
  const auto [children, aux_data] = tree_flatten();
  Attributes keyed;
  for (std::size_t i = 0; i < children.size(); ++i)
    keyed.emplace_back(key_for_field(aux_data.child_field_names[i]),
                       children[i]);
  return {keyed, aux_data};
}

KVCachingAttention KVCachingAttention::tree_unflatten(
    const StructStaticMetadata& aux_data, const std::vector<Field>& children,
    std::string_view type) {
  if (children.size() != aux_data.child_field_names.size())
    throw Error({.field = "children",
                 .expected = std::to_string(aux_data.child_field_names.size()),
                 .found = std::to_string(children.size())});
  Attributes fields = aux_data.static_fields;
  for (std::size_t i = 0; i < children.size(); ++i)
    fields.emplace_back(aux_data.child_field_names[i], children[i]);
  return from_attributes(fields, type);
}

std::vector<Leaf> KVCachingAttention::leaves() const {
  std::vector<Leaf> result;
  KVCachingAttention copy = *this;
  visit_leaves(copy, [&](const std::string& path, const auto& value) {
    result.push_back({.path = path, .array = as_array(value)});
  });
  return result;
}

KVCachingAttention KVCachingAttention::with_leaves(
    const std::vector<Leaf>& leaves) const {
  KVCachingAttention result = *this;
  std::size_t next = 0;
  visit_leaves(result, [&](const std::string& path, auto& value) {
    if (next == leaves.size() || leaves[next].path != path)
      throw Error(
          {.field = "leaves",
           .expected = path,
           .found = next == leaves.size() ? "the end" : leaves[next].path});
    take(leaves[next++], value);
  });
  if (next != leaves.size())
    throw Error(
        {.field = "leaves", .expected = "the end", .found = leaves[next].path});
  return result;
}

}  // namespace kvtape::penzai
