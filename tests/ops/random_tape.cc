#include "random_tape.h"

#include <cstring>

#include "kernels/quantized.h"
#include "systems/element.h"
#include "systems/slab_copy.h"

namespace kvtape::tests {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

std::vector<Axis> axes_of(const TapeShape& shape, AxisKind walked,
                          std::int64_t length, std::int64_t heads,
                          std::int64_t dim, const std::string& order) {
  std::vector<Axis> axes;
  for (char letter : order) {
    if (letter == 'b')
      for (const Axis& axis : batch_axes(shape)) axes.push_back(axis);
    if (letter == 'p') axes.push_back({walked, "seq", length});
    if (letter == 'h') axes.push_back({AxisKind::kHead, "head", heads});
    if (letter == 'd') axes.push_back({AxisKind::kDim, "dim", dim});
  }
  return axes;
}

Tensor random_tensor(DType dtype, std::vector<Axis> axes, Numbers& numbers) {
  std::int64_t count = 1;
  for (const Axis& axis : axes) count *= axis.size;
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(numbers.next());
  return float_tensor(dtype, std::move(axes), values);
}

Tensor row_tensor(const TapeShape& shape,
                  const std::vector<std::int64_t>& given) {
  std::vector<std::int64_t> values = given;
  values.resize(at(rows_of(shape)), given.back());
  return int_tensor(batch_axes(shape), values);
}

LayerCache random_layer(const TapeShape& shape, Numbers& numbers) {
  LayerCache layer;
  layer.layout = shape.layout;
  const auto cached = [&](std::int64_t dim) {
    return random_tensor(shape.dtype,
                         axes_of(shape, AxisKind::kPosition, shape.extent,
                                 shape.key_heads, dim, shape.order),
                         numbers);
  };
  layer.key = cached(shape.key_dim);
  layer.value = cached(shape.value_dim);
  layer.index = row_tensor(shape, shape.index);
  layer.starts = row_tensor(shape, shape.starts);
  return layer;
}

LayerTrace random_trace(const TapeShape& shape, Numbers& numbers) {
  LayerTrace trace;
  const auto traced = [&](std::int64_t heads, std::int64_t dim) {
    return random_tensor(
        shape.trace_dtype,
        axes_of(shape, AxisKind::kToken, tokens_of(shape), heads, dim, "bphd"),
        numbers);
  };
  trace.query = traced(shape.query_heads, shape.key_dim);
  trace.key = traced(shape.key_heads, shape.key_dim);
  trace.value = traced(shape.key_heads, shape.value_dim);
  return trace;
}

// All layers of key (or value) as one dataset, layers last but one.
void stack(Cache& cache, std::optional<Tensor> LayerCache::*what) {
  const Tensor first = *(cache.layers.at(0).*what);
  const auto layers = static_cast<std::int64_t>(cache.layers.size());
  const std::size_t last =
      at(first.axes.back().size) * at(bytes_per_element(first.dtype));
  const std::size_t runs = first.source->bytes().size() / last;
  std::vector<std::byte> bytes(runs * last * at(layers));
  for (std::int64_t number = 0; number < layers; ++number) {
    const auto from = (cache.layers.at(number).*what)->source->bytes();
    for (std::size_t run = 0; run < runs; ++run)
      std::memcpy(bytes.data() + (run * at(layers) + at(number)) * last,
                  from.data() + run * last, last);
  }
  std::vector<Axis> axes = first.axes;
  axes.insert(axes.end() - 1, {AxisKind::kLayer, "layer", layers});
  const Tensor all = make_tensor(first.dtype, axes, std::move(bytes));
  for (auto& [number, layer] : cache.layers) {
    layer.*what = all;
    (layer.*what)->layer = number;
  }
}

}  // namespace

double Numbers::next() {
  state_ = state_ * 6364136223846793005U + 1442695040888963407U;
  return static_cast<double>(static_cast<std::int64_t>(state_) >> 24) /
         static_cast<double>(std::int64_t{1} << 39);
}

std::int64_t Numbers::below(std::int64_t limit) {
  return static_cast<std::int64_t>((next() + 1) / 2 *
                                   static_cast<double>(limit));
}

Tape random_tape(const TapeShape& shape) {
  Numbers numbers(shape.seed);
  Tape tape;
  tape.cache.attention.query_heads = shape.query_heads;
  tape.trace.emplace();
  tape.trace->step_lengths = int_tensor(
      {{AxisKind::kBatch, "step", std::ssize(shape.steps)}}, shape.steps);
  for (std::int64_t number = 0; number < shape.layers; ++number) {
    tape.cache.layers[number] = random_layer(shape, numbers);
    tape.trace->layers[number] = random_trace(shape, numbers);
  }
  if (shape.stacked) {
    stack(tape.cache, &LayerCache::key);
    stack(tape.cache, &LayerCache::value);
  }
  return tape;
}

Tensor float_tensor(DType dtype, std::vector<Axis> axes,
                    const std::vector<double>& values) {
  const std::size_t size = at(bytes_per_element(dtype));
  std::vector<std::byte> bytes(values.size() * size);
  for (std::size_t i = 0; i < values.size(); ++i)
    store_number(values[i], dtype, bytes.data() + i * size);
  return make_tensor(dtype, std::move(axes), std::move(bytes));
}

Tensor int_tensor(std::vector<Axis> axes,
                  const std::vector<std::int64_t>& values) {
  std::vector<std::byte> bytes(values.size() * 4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<std::int32_t>(values[i]);
    std::memcpy(bytes.data() + i * 4, &value, 4);
  }
  return make_tensor(DType::kI32, std::move(axes), std::move(bytes));
}

std::vector<Axis> batch_axes(const TapeShape& shape) {
  std::vector<Axis> axes;
  for (std::int64_t size : shape.batch)
    axes.push_back(
        {AxisKind::kBatch, "batch" + std::to_string(axes.size()), size});
  return axes;
}

std::int64_t rows_of(const TapeShape& shape) {
  std::int64_t rows = 1;
  for (std::int64_t size : shape.batch) rows *= size;
  return rows;
}

std::int64_t tokens_of(const TapeShape& shape) {
  std::int64_t tokens = 0;
  for (std::int64_t length : shape.steps) tokens += length;
  return tokens;
}

Tensor quantized(const Tensor& tensor, Quantization::Scheme scheme,
                 std::int64_t block) {
  const bool int8 = scheme == Quantization::Scheme::kInt8;
  std::vector<float> values;
  for (double value : doubles(tensor))
    values.push_back(static_cast<float>(value));
  const std::int64_t count = std::ssize(values);
  const std::int64_t dim = tensor.axes.back().size;
  const std::int64_t scales = count / (int8 ? dim : block);
  const int size = bytes_per_element(tensor.dtype);
  const kernels::Element element = element_of(tensor.dtype);
  std::vector<std::byte> codes(at(int8 ? count : count / 2));
  std::vector<std::byte> scale(at(scales * size));
  if (int8)
    kernels::quantize_int8(values.data(), element, scales, dim,
                           reinterpret_cast<std::int8_t*>(codes.data()),
                           scale.data());
  else
    kernels::quantize_nf4(values.data(), element, block, count,
                          reinterpret_cast<std::uint8_t*>(codes.data()),
                          scale.data());
  Tensor result = tensor;
  Quantization& q = result.quantization;
  q.scheme = scheme;
  q.block_size = block;
  q.payload_dtype = int8 ? DType::kI8 : DType::kU8;
  q.payload_count = std::ssize(codes);
  q.scale_count = scales;
  q.scale_dtype = tensor.dtype;
  result.source = make_source(std::move(codes), {q.payload_count}, 1);
  q.scales = make_source(std::move(scale), {scales}, size);
  return result;
}

}  // namespace kvtape::tests
