#include "io/same_tape.h"

#include <cstdlib>

namespace kvtape::test {
namespace {

std::size_t product(const std::vector<std::int64_t>& sizes) {
  std::int64_t result = 1;
  for (std::int64_t size : sizes) result *= size;
  return static_cast<std::size_t>(result);
}

std::vector<std::byte> read_all(const SlabSource& source,
                                std::vector<std::int64_t> first,
                                std::vector<std::int64_t> count, DType dtype) {
  std::vector<std::byte> bytes(
      product(count) * static_cast<std::size_t>(bytes_per_element(dtype)));
  source.read({std::move(first), std::move(count)}, bytes);
  return bytes;
}

// Codes and scales stand in one row where they come from a file.
std::vector<std::byte> row_of(const SlabSource& source, std::int64_t count,
                              DType dtype) {
  const auto bytes = source.bytes();
  if (!bytes.empty()) return {bytes.begin(), bytes.end()};
  return read_all(source, {0}, {count}, dtype);
}

class Comparer {
 public:
  std::vector<std::string> lines;

  template <typename T>
  void value(const std::string& path, const T& a, const T& b) {
    if (!(a == b)) lines.push_back(path);
  }

  void tensor(const std::string& path, const std::optional<Tensor>& a,
              const std::optional<Tensor>& b) {
    value(path + " presence", a.has_value(), b.has_value());
    if (!a || !b) return;
    value(path + " dtype", a->dtype, b->dtype);
    value(path + " axes", a->axes, b->axes);
    value(path + " layer", a->layer, b->layer);
    const Quantization& qa = a->quantization;
    const Quantization& qb = b->quantization;
    value(path + " scheme", qa.scheme, qb.scheme);
    value(path + " block", qa.block_size, qb.block_size);
    value(path + " scale count", qa.scale_count, qb.scale_count);
    value(path + " scale dtype", qa.scale_dtype, qb.scale_dtype);
    value(path + " payload dtype", qa.payload_dtype, qb.payload_dtype);
    value(path + " payload count", qa.payload_count, qb.payload_count);
    if (!lines.empty()) return;
    value(path + " bytes", bytes_of(*a), bytes_of(*b));
    if (a->quantized())
      value(path + " scales",
            row_of(*qa.scales, qa.scale_count, qa.scale_dtype),
            row_of(*qb.scales, qb.scale_count, qb.scale_dtype));
  }

  void layer(const std::string& path, const LayerCache& a,
             const LayerCache& b) {
    tensor(path + "/key", a.key, b.key);
    tensor(path + "/value", a.value, b.value);
    tensor(path + "/index", a.index, b.index);
    tensor(path + "/starts", a.starts, b.starts);
    tensor(path + "/slot_position", a.slot_position, b.slot_position);
    value(path + " layer_index", a.layer_index, b.layer_index);
    value(path + " frozen", a.frozen, b.frozen);
    value(path + " window", a.window, b.window);
    value(path + " layout", a.layout, b.layout);
    value(path + " attention", a.attention, b.attention);
    value(path + " rotary", a.rotary, b.rotary);
  }

  void layer(const std::string& path, const LayerTrace& a,
             const LayerTrace& b) {
    tensor(path + "/query", a.query, b.query);
    tensor(path + "/key", a.key, b.key);
    tensor(path + "/value", a.value, b.value);
    tensor(path + "/output", a.output, b.output);
    tensor(path + "/attention_mask", a.attention_mask, b.attention_mask);
    tensor(path + "/start_index", a.start_index, b.start_index);
  }

  template <typename Layer>
  void layers(const std::string& path, const std::map<std::int64_t, Layer>& a,
              const std::map<std::int64_t, Layer>& b) {
    value(path + " count", a.size(), b.size());
    for (const auto& [number, each] : a) {
      const std::string below = path + "/" + std::to_string(number);
      const auto other = b.find(number);
      if (other == b.end())
        lines.push_back(below);
      else
        layer(below, each, other->second);
    }
  }

  void trace(const std::optional<Trace>& a, const std::optional<Trace>& b) {
    value("/trace presence", a.has_value(), b.has_value());
    if (!a || !b) return;
    value("/trace keys_in", a->keys_in, b->keys_in);
    tensor("/trace/step_lengths", a->step_lengths, b->step_lengths);
    tensor("/trace/start_index", a->start_index, b->start_index);
    tensor("/trace/attention_mask", a->attention_mask, b->attention_mask);
    tensor("/trace/token_mask", a->token_mask, b->token_mask);
    tensor("/trace/positions", a->positions, b->positions);
    layers("/trace/layers", a->layers, b->layers);
  }

  void final_state(const std::optional<FinalState>& a,
                   const std::optional<FinalState>& b) {
    value("/final presence", a.has_value(), b.has_value());
    if (!a || !b) return;
    layers("/final/layers", a->layers, b->layers);
    tensor("/final/attention_mask", a->attention_mask, b->attention_mask);
  }

  void extras(const std::vector<Extra>& a, const std::vector<Extra>& b) {
    value("extras count", a.size(), b.size());
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      value("extra " + a[i].path, a[i].path, b[i].path);
      value("extra " + a[i].path + " attributes", a[i].attributes,
            b[i].attributes);
      tensor(a[i].path, a[i].tensor, b[i].tensor);
    }
  }
};

}  // namespace

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  if (tensor.quantized())
    return row_of(*tensor.source, tensor.quantization.payload_count,
                  tensor.quantization.payload_dtype);
  std::vector<std::int64_t> first;
  std::vector<std::int64_t> count;
  for (const Axis& axis : tensor.axes) {
    const bool fixed = axis.kind == AxisKind::kLayer && tensor.layer;
    first.push_back(fixed ? *tensor.layer : 0);
    count.push_back(fixed ? 1 : axis.size);
  }
  return read_all(*tensor.source, first, count, tensor.dtype);
}

std::vector<std::string> differences(const Tape& a, const Tape& b) {
  Comparer c;
  c.value("source", a.source, b.source);
  c.value("producer", a.producer, b.producer);
  c.value("model", a.model, b.model);
  c.value("/metadata", a.cache.metadata, b.cache.metadata);
  c.value("/attention", a.cache.attention, b.cache.attention);
  c.value("/rotary", a.cache.rotary, b.cache.rotary);
  c.layers("/layers", a.cache.layers, b.cache.layers);
  c.tensor("/attention_mask", a.cache.attention_mask, b.cache.attention_mask);
  c.tensor("/tokens", a.cache.tokens, b.cache.tokens);
  c.trace(a.trace, b.trace);
  c.final_state(a.final_state, b.final_state);
  c.extras(a.extras, b.extras);
  return c.lines;
}

std::string made(const std::string& name) {
  return std::string(std::getenv("KVTAPE_IO_FILES")) + "/" + name + ".h5";
}

}  // namespace kvtape::test
