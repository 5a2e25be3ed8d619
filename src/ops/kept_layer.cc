// In-memory tensors of a replay.
#include "ops/kept_layer.h"

#include <cstring>
#include <utility>

#include "core/checked.h"
#include "ops/tensor_checks.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

std::vector<Axis> batch_axes(const Tensor& tensor) {
  std::vector<Axis> axes;
  for (const Axis& axis : tensor.axes)
    if (axis.kind == AxisKind::kBatch) axes.push_back(axis);
  return axes;
}

// The axis of a kind, with its name, where the tensor has one.
void take_axis(const Tensor& tensor, AxisKind kind, std::vector<Axis>& axes) {
  for (const Axis& axis : tensor.axes)
    if (axis.kind == kind) axes.push_back(axis);
}

// The axes of a tensor in the order in which rows are kept.
std::vector<Axis> kept_axes(const Tensor& like, std::int64_t slots) {
  std::vector<Axis> axes = batch_axes(like);
  for (AxisKind kind : {AxisKind::kPosition, AxisKind::kHead, AxisKind::kDim})
    take_axis(like, kind, axes);
  for (Axis& axis : axes)
    if (axis.kind == AxisKind::kPosition) axis.size = slots;
  return axes;
}

std::vector<Axis> output_axes(const ReplayProblem& p) {
  std::vector<Axis> axes = batch_axes(*p.layer->query);
  take_axis(*p.layer->query, AxisKind::kToken, axes);
  axes.push_back({.kind = AxisKind::kHead,
                  .name = "head",
                  .size = p.attention.query_heads});
  axes.push_back({.kind = AxisKind::kDim, .name = "dim", .size = p.value_dim});
  return axes;
}

void append_rows(PagedRows& rows, KeptTensor& kept) {
  kept.dtype = rows.dtype();
  const std::size_t before = kept.bytes.size();
  kept.bytes.resize(before + at(rows.slots() * rows.heads() * rows.dim() *
                                bytes_per_element(rows.dtype())));
  rows.copy_to(kept.bytes.data() + before);
}

void append_codes(const QuantizedRows& rows, KeptTensor& kept) {
  kept.bytes.insert(kept.bytes.end(), rows.codes().begin(), rows.codes().end());
  kept.scales.insert(kept.scales.end(), rows.scales().begin(),
                     rows.scales().end());
}

// Codes and scales lie in one run each.
Tensor quantized_tensor(const Tensor& like, std::vector<Axis> axes,
                        KeptTensor kept) {
  Tensor tensor{.dtype = like.dtype,
                .axes = std::move(axes),
                .quantization = like.quantization};
  const int scale = bytes_per_element(like.dtype);
  Quantization& q = tensor.quantization;
  q.payload_count = std::ssize(kept.bytes);
  q.scale_count = std::ssize(kept.scales) / scale;
  tensor.source = make_source(std::move(kept.bytes), {q.payload_count}, 1);
  q.scales = make_source(std::move(kept.scales), {q.scale_count}, scale);
  return tensor;
}

Tensor kept_tensor(const Tensor& like, std::int64_t slots, KeptTensor kept) {
  std::vector<Axis> axes = kept_axes(like, slots);
  if (like.quantized())
    return quantized_tensor(like, std::move(axes), std::move(kept));
  return make_tensor(kept.dtype, std::move(axes), std::move(kept.bytes));
}

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  if (!bytes.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

}  // namespace

KeptLayer kept_layer(const ReplayProblem& p) {
  KeptLayer kept;
  if (p.layer->output) kept.output_dtype = p.layer->output->dtype;
  const std::int64_t sizes[] = {p.rows, p.tokens, p.attention.query_heads,
                                p.value_dim,
                                bytes_per_element(kept.output_dtype)};
  const auto bytes = checked_product(sizes);
  if (!bytes)
    contradiction("/trace/layers/" + std::to_string(p.number), "outputs",
                  "a size that fits 63 bits", "more");
  kept.outputs.resize(at(*bytes));
  return kept;
}

void keep_outputs(const ReplayProblem& p, std::int64_t row, std::int64_t token,
                  const std::vector<float>& outputs, KeptLayer& kept) {
  const std::int64_t numbers = p.attention.query_heads * p.value_dim;
  const std::int64_t size = bytes_per_element(kept.output_dtype);
  std::byte* to =
      kept.outputs.data() + (row * p.tokens + token) * numbers * size;
  const auto tokens = static_cast<std::int64_t>(outputs.size()) / numbers;
  copy_slab(
      packed_slab(reinterpret_cast<const std::byte*>(outputs.data()),
                  DType::kF32, {tokens, p.attention.query_heads, p.value_dim}),
      kept.output_dtype, to);
}

void keep_row(const ReplayProblem& p, RowState& state, KeptLayer& kept) {
  if (!p.cache->key->quantized()) append_rows(state.key, kept.key);
  if (!p.cache->value->quantized()) append_rows(state.value, kept.value);
  kept.slots = state.slots.count();
  kept.index.push_back(static_cast<std::int32_t>(state.slots.index));
}

void keep_codes(const std::optional<QuantizedRows>& key,
                const std::optional<QuantizedRows>& value, KeptLayer& kept) {
  if (key) append_codes(*key, kept.key);
  if (value) append_codes(*value, kept.value);
}

void put_kept_layer(const ReplayProblem& p, KeptLayer kept, Tape& tape) {
  tape.trace->layers.at(p.number).output =
      make_tensor(kept.output_dtype, output_axes(p), std::move(kept.outputs));
  if (!tape.final_state) tape.final_state.emplace();
  LayerCache& layer = tape.final_state->layers[p.number];
  layer.key = kept_tensor(*p.cache->key, kept.slots, std::move(kept.key));
  layer.value = kept_tensor(*p.cache->value, kept.slots, std::move(kept.value));
  layer.index =
      make_tensor(DType::kI32, batch_axes(*p.cache->key), bytes_of(kept.index));
}

}  // namespace kvtape
