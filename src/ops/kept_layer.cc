// In-memory tensors of a replay.
#include "ops/kept_layer.h"

#include <cstring>
#include <utility>

#include "core/checked.h"
#include "ops/slab_copy.h"
#include "ops/tensor_checks.h"

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

void append_rows(PagedRows& rows, std::vector<std::byte>& bytes) {
  const std::size_t before = bytes.size();
  bytes.resize(before + at(rows.slots() * rows.heads() * rows.dim() *
                           bytes_per_element(rows.dtype())));
  rows.copy_to(bytes.data() + before);
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

void keep_row(const ReplayProblem&, RowState& state, KeptLayer& kept) {
  append_rows(state.key, kept.key);
  append_rows(state.value, kept.value);
  kept.key_dtype = state.key.dtype();
  kept.value_dtype = state.value.dtype();
  kept.slots = state.slots.count();
  kept.index.push_back(static_cast<std::int32_t>(state.slots.index));
}

void put_kept_layer(const ReplayProblem& p, KeptLayer kept, Tape& tape) {
  tape.trace->layers.at(p.number).output =
      make_tensor(kept.output_dtype, output_axes(p), std::move(kept.outputs));
  if (!tape.final_state) tape.final_state.emplace();
  LayerCache& layer = tape.final_state->layers[p.number];
  layer.key = make_tensor(kept.key_dtype, kept_axes(*p.cache->key, kept.slots),
                          std::move(kept.key));
  layer.value =
      make_tensor(kept.value_dtype, kept_axes(*p.cache->value, kept.slots),
                  std::move(kept.value));
  layer.index =
      make_tensor(DType::kI32, batch_axes(*p.cache->key), bytes_of(kept.index));
}

}  // namespace kvtape
