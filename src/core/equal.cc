#include "kvtape/equal.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <vector>

#include "core/checked.h"

namespace kvtape {
namespace {

using Difference = std::optional<std::string>;
using Sizes = std::vector<std::int64_t>;

// Bytes of one source that are compared at a time.
constexpr std::int64_t kSlabBytes = 4 << 20;

std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

std::string place_text(const Sizes& place) {
  std::string text = "[";
  for (const std::int64_t i : place)
    text += (text.size() > 1 ? ", " : "") + std::to_string(i);
  return text + "]";
}

// The axes of a tensor but a stacked layer, which is fixed.
std::vector<Axis> axes_of(const Tensor& tensor) {
  std::vector<Axis> axes;
  for (const Axis& axis : tensor.axes)
    if (axis.kind != AxisKind::kLayer || !tensor.layer) axes.push_back(axis);
  return axes;
}

// Reads boxes of a tensor's own axes, the fixed layer left out.
class BoxReader {
 public:
  explicit BoxReader(const Tensor& tensor) : tensor_(tensor) {}

  std::vector<std::byte>& read(const Sizes& first, const Sizes& count) {
    Box box;
    std::int64_t elements = 1;
    std::size_t own = 0;
    for (const Axis& axis : tensor_.axes) {
      const bool fixed = axis.kind == AxisKind::kLayer && tensor_.layer;
      box.first.push_back(fixed ? *tensor_.layer : first[own]);
      box.count.push_back(fixed ? 1 : count[own]);
      elements *= box.count.back();
      if (!fixed) ++own;
    }
    bytes_.resize(size(elements * bytes_per_element(tensor_.dtype)));
    tensor_.source->read(box, bytes_);
    return bytes_;
  }

 private:
  const Tensor& tensor_;
  std::vector<std::byte> bytes_;
};

// For each axis of `a`, its place among those of `b`: by kind, batch axes in
// their order. Nothing where the axes are not the same.
std::optional<std::vector<std::size_t>> matched(const std::vector<Axis>& a,
                                                const std::vector<Axis>& b) {
  if (a.size() != b.size()) return {};
  std::vector<bool> taken(b.size());
  std::vector<std::size_t> result;
  for (const Axis& axis : a) {
    std::size_t i = 0;
    while (i < b.size() && (taken[i] || b[i].kind != axis.kind)) ++i;
    if (i == b.size() || b[i] != axis) return {};
    taken[i] = true;
    result.push_back(i);
  }
  return result;
}

// Distances in bytes between neighbours of a packed box.
Sizes strides_of(const Sizes& count, std::int64_t bytes) {
  Sizes strides(count.size());
  for (std::size_t axis = count.size(); axis-- > 0;) {
    strides[axis] = bytes;
    bytes *= count[axis];
  }
  return strides;
}

// The next place of a box in C order; false behind the last.
bool advance(Sizes& place, const Sizes& count) {
  for (std::size_t axis = place.size(); axis-- > 0;) {
    if (++place[axis] < count[axis]) return true;
    place[axis] = 0;
  }
  return false;
}

// Two packed boxes, axis i of `a` being axis order[i] of `b`.
struct Boxes {
  const std::byte* a = nullptr;
  const std::byte* b = nullptr;
  Sizes a_count;
  Sizes b_count;
  std::int64_t bytes = 1;  // of an element
};

std::optional<Sizes> first_unequal(const Boxes& boxes,
                                   const std::vector<std::size_t>& order) {
  const Sizes a = strides_of(boxes.a_count, boxes.bytes);
  const Sizes b = strides_of(boxes.b_count, boxes.bytes);
  Sizes place(a.size());
  do {
    std::int64_t at_a = 0;
    std::int64_t at_b = 0;
    for (std::size_t axis = 0; axis < place.size(); ++axis) {
      at_a += place[axis] * a[axis];
      at_b += place[axis] * b[order[axis]];
    }
    if (std::memcmp(boxes.a + at_a, boxes.b + at_b, size(boxes.bytes)) != 0)
      return place;
  } while (advance(place, boxes.a_count));
  return {};
}

// Splits `a` along its first axes until a box is small.
Sizes slab_of(const Sizes& sizes, std::int64_t bytes) {
  Sizes slab = sizes;
  std::int64_t total = bytes;
  for (const std::int64_t each : sizes) total *= each;
  for (std::size_t axis = 0; axis < slab.size() && total > kSlabBytes; ++axis) {
    const std::int64_t rest = total / slab[axis];
    slab[axis] = std::max<std::int64_t>(kSlabBytes / rest, 1);
    total = rest * slab[axis];
  }
  return slab;
}

Difference unequal_elements(const Tensor& a, const Tensor& b,
                            const std::vector<std::size_t>& order) {
  Sizes sizes;
  for (const Axis& axis : axes_of(a)) sizes.push_back(axis.size);
  if (std::count(sizes.begin(), sizes.end(), 0) > 0) return {};
  const Sizes slab = slab_of(sizes, bytes_per_element(a.dtype));
  BoxReader read_a(a);
  BoxReader read_b(b);
  Sizes first(sizes.size());
  for (;;) {
    Sizes count(sizes.size());
    Sizes b_first(sizes.size());
    Sizes b_count(sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      count[i] = std::min(slab[i], sizes[i] - first[i]);
      b_first[order[i]] = first[i];
      b_count[order[i]] = count[i];
    }
    const auto& bytes_a = read_a.read(first, count);
    const auto& bytes_b = read_b.read(b_first, b_count);
    const bool same_order =
        count == b_count && std::is_sorted(order.begin(), order.end());
    if (!same_order || bytes_a != bytes_b) {
      auto place = first_unequal({.a = bytes_a.data(),
                                  .b = bytes_b.data(),
                                  .a_count = count,
                                  .b_count = b_count,
                                  .bytes = bytes_per_element(a.dtype)},
                                 order);
      if (place) {
        for (std::size_t i = 0; i < sizes.size(); ++i) (*place)[i] += first[i];
        return place_text(*place);
      }
    }
    std::size_t axis = sizes.size();
    for (; axis-- > 0;) {
      first[axis] += slab[axis];
      if (first[axis] < sizes[axis]) break;
      first[axis] = 0;
    }
    if (axis == static_cast<std::size_t>(-1)) return {};
  }
}

// Codes or scales, which are read as one axis.
Difference unequal_row(const SlabSource& a, const SlabSource& b,
                       std::int64_t count, int bytes) {
  std::vector<std::byte> of_a;
  std::vector<std::byte> of_b;
  const std::int64_t most = kSlabBytes / bytes;
  for (std::int64_t first = 0; first < count; first += most) {
    const std::int64_t some = std::min(most, count - first);
    of_a.resize(size(some * bytes));
    of_b.resize(of_a.size());
    a.read({{first}, {some}}, of_a);
    b.read({{first}, {some}}, of_b);
    if (of_a == of_b) continue;
    const auto at =
        std::mismatch(of_a.begin(), of_a.end(), of_b.begin()).first -
        of_a.begin();
    return place_text({first + at / bytes});
  }
  return {};
}

Difference unequal_codes(const Tensor& a, const Tensor& b) {
  const Quantization& p = a.quantization;
  const Quantization& q = b.quantization;
  if (p.scheme != q.scheme || p.block_size != q.block_size ||
      p.payload_dtype != q.payload_dtype ||
      p.payload_count != q.payload_count || p.scale_dtype != q.scale_dtype ||
      p.scale_count != q.scale_count)
    return "quantization";
  if (a.axes != b.axes) return "shape";
  if (auto at = unequal_row(*a.source, *b.source, p.payload_count,
                            bytes_per_element(p.payload_dtype)))
    return "code " + *at;
  if (auto at = unequal_row(*p.scales, *q.scales, p.scale_count,
                            bytes_per_element(p.scale_dtype)))
    return "scale " + *at;
  return {};
}

// Compares in order and keeps the first difference.
class Comparer {
 public:
  Difference found;

  template <typename T>
  void value(const std::string& path, const T& a, const T& b) {
    if (!found && !(a == b)) found = path;
  }

  void tensor(const std::string& path, const std::optional<Tensor>& a,
              const std::optional<Tensor>& b) {
    value(path, a.has_value(), b.has_value());
    if (found || !a || !b) return;
    if (const auto where = first_difference(*a, *b))
      found = path + " " + *where;
  }

  void layer(const std::string& path, const LayerCache& a,
             const LayerCache& b) {
    value(path + " layer_index", a.layer_index, b.layer_index);
    value(path + " frozen", a.frozen, b.frozen);
    value(path + " window", a.window, b.window);
    value(path + " layout", a.layout, b.layout);
    value(path + " attention", a.attention, b.attention);
    value(path + " rotary", a.rotary, b.rotary);
    tensor(path + "/index", a.index, b.index);
    tensor(path + "/starts", a.starts, b.starts);
    tensor(path + "/slot_position", a.slot_position, b.slot_position);
    tensor(path + "/key", a.key, b.key);
    tensor(path + "/value", a.value, b.value);
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
    for (const auto& [number, each] : a) {
      const std::string below = path + "/" + std::to_string(number);
      const auto other = b.find(number);
      value(below, other != b.end(), true);
      if (!found) layer(below, each, other->second);
    }
    for (const auto& [number, each] : b)
      value(path + "/" + std::to_string(number), a.contains(number), true);
  }

  void cache(const Cache& a, const Cache& b) {
    value("/metadata", a.metadata, b.metadata);
    value("/attention", a.attention, b.attention);
    value("/rotary", a.rotary, b.rotary);
    layers("/layers", a.layers, b.layers);
    tensor("/attention_mask", a.attention_mask, b.attention_mask);
    tensor("/tokens", a.tokens, b.tokens);
  }

  void trace(const std::optional<Trace>& a, const std::optional<Trace>& b) {
    value("/trace", a.has_value(), b.has_value());
    if (found || !a || !b) return;
    value("/trace keys_in", a->keys_in, b->keys_in);
    tensor("/trace/step_lengths", a->step_lengths, b->step_lengths);
    tensor("/trace/start_index", a->start_index, b->start_index);
    tensor("/trace/attention_mask", a->attention_mask, b->attention_mask);
    tensor("/trace/token_mask", a->token_mask, b->token_mask);
    tensor("/trace/positions", a->positions, b->positions);
    layers("/trace/layers", a->layers, b->layers);
    layers("/trace/operations", a->operations, b->operations);
  }

  void layer(const std::string& path, const Operation& a, const Operation& b) {
    const auto arguments = [](const Operation& o) {
      return std::tie(o.kind, o.layer, o.query_length, o.sliding_window,
                      o.quantization, o.block_size, o.slot, o.end_index,
                      o.error);
    };
    value(path + " arguments", arguments(a), arguments(b));
    tensor(path + "/key", a.key, b.key);
    tensor(path + "/value", a.value, b.value);
    tensor(path + "/attention_mask", a.attention_mask, b.attention_mask);
    tensor(path + "/causal_mask", a.causal_mask, b.causal_mask);
    tensor(path + "/token_type_ids", a.token_type_ids, b.token_type_ids);
    tensor(path + "/values", a.values, b.values);
    value(path + "/other", a.other.has_value(), b.other.has_value());
    if (a.other && b.other) other(path + "/other", *a.other, *b.other);
    value(path + "/result", a.result.has_value(), b.result.has_value());
    if (a.result && b.result) result(path + "/result", *a.result, *b.result);
  }

  void other(const std::string& path, const Cache& a, const Cache& b) {
    value(path + "/metadata", a.metadata, b.metadata);
    layers(path + "/layers", a.layers, b.layers);
  }

  void result(const std::string& path, const OperationResult& a,
              const OperationResult& b) {
    tensor(path + "/key", a.key, b.key);
    tensor(path + "/value", a.value, b.value);
    tensor(path + "/mask", a.mask, b.mask);
    layers(path + "/layers", a.layers, b.layers);
    tensor(path + "/attention_mask", a.attention_mask, b.attention_mask);
  }

  void final_state(const std::optional<FinalState>& a,
                   const std::optional<FinalState>& b) {
    value("/final", a.has_value(), b.has_value());
    if (found || !a || !b) return;
    layers("/final/layers", a->layers, b->layers);
    tensor("/final/attention_mask", a->attention_mask, b->attention_mask);
  }

  void extras(const std::vector<Extra>& a, const std::vector<Extra>& b) {
    for (std::size_t i = 0; i < std::max(a.size(), b.size()) && !found; ++i) {
      if (i >= a.size() || i >= b.size() || a[i].path != b[i].path) {
        found = i < a.size() ? a[i].path : b[i].path;
        return;
      }
      value(a[i].path, a[i].attributes, b[i].attributes);
      tensor(a[i].path, a[i].tensor, b[i].tensor);
    }
  }
};

}  // namespace

Difference first_difference(const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype) return "dtype";
  if (a.quantized() || b.quantized()) return unequal_codes(a, b);
  const auto order = matched(axes_of(a), axes_of(b));
  return order ? unequal_elements(a, b, *order) : "shape";
}

Difference first_difference(const Cache& a, const Cache& b) {
  Comparer comparer;
  comparer.cache(a, b);
  return comparer.found;
}

Difference first_difference(const Tape& a, const Tape& b) {
  Comparer comparer;
  comparer.value("source", a.source, b.source);
  comparer.value("producer", a.producer, b.producer);
  comparer.value("model", a.model, b.model);
  comparer.cache(a.cache, b.cache);
  comparer.trace(a.trace, b.trace);
  comparer.final_state(a.final_state, b.final_state);
  comparer.extras(a.extras, b.extras);
  return comparer.found;
}

}  // namespace kvtape
