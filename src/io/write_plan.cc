#include "io/write_plan.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/box.h"
#include "core/checked.h"
#include "io/axes_text.h"
#include "io/regions.h"
#include "io/tensors.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

using Sizes = std::vector<std::int64_t>;

PlannedDataset whole(DType dtype, Sizes sizes,
                     std::shared_ptr<const SlabSource> source) {
  return {.dtype = dtype,
          .sizes = sizes,
          .source = std::move(source),
          .source_sizes = sizes,
          .box = {Sizes(sizes.size(), 0), sizes}};
}

// Numbers that are quantized stand in one row, whatever shape they have.
PlannedDataset flat(DType dtype, std::int64_t count, Sizes sizes,
                    std::shared_ptr<const SlabSource> source) {
  PlannedDataset dataset = whole(dtype, {count}, std::move(source));
  if (checked_product(sizes) == count) dataset.sizes = std::move(sizes);
  return dataset;
}

std::string_view dtype_word(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "float64";
    case DType::kF16:
      return "float16";
    case DType::kBF16:
      return "bfloat16";
    default:
      return "float32";
  }
}

class Planner {
 public:
  explicit Planner(const Tape& tape) : tape_(tape) {}

  WritePlan run(Stacks stacks) {
    put_root();
    put_metadata("/metadata", tape_.cache.metadata);
    put_attention("/attention", tape_.cache.attention);
    put_rotary("/rotary", tape_.cache.rotary);
    if (stacks == Stacks::kKept) {
      put_stack("key", &LayerCache::key);
      put_stack("value", &LayerCache::value);
    }
    put_layers("", tape_.cache.layers);
    put("/attention_mask", tape_.cache.attention_mask, kSlotRole);
    put("/tokens", tape_.cache.tokens, kSlotRole);
    if (tape_.trace) put_trace(*tape_.trace);
    if (tape_.final_state) put_final(*tape_.final_state);
    for (const Extra& extra : tape_.extras) put_extra(extra);
    return std::move(plan_);
  }

 private:
  // The object at a path; groups above it come to be.
  PlannedObject& at(const std::string& path) {
    for (std::size_t slash = path.find('/', 1); slash != path.npos;
         slash = path.find('/', slash + 1))
      plan_[path.substr(0, slash)];
    return plan_[path];
  }

  void set(const std::string& path, const std::string& name,
           AttributeValue value) {
    Attributes& attributes = at(path).attributes;
    for (const auto& [key, old] : attributes)
      if (key == name) return;
    attributes.emplace_back(name, std::move(value));
  }

  template <typename T>
  void set_if(const std::string& path, const std::string& name,
              const std::optional<T>& value) {
    if (value) set(path, name, AttributeValue(*value));
  }

  template <typename Enum>
  void set_word(const std::string& path, const std::string& attribute,
                const std::optional<Enum>& value) {
    if (value) set(path, attribute, std::string(name(*value)));
  }

  PlannedObject& put_dataset(const std::string& path, PlannedDataset dataset) {
    PlannedObject& object = at(path);
    if (object.dataset)
      throw Error({.object = path, .text = "two tensors for one place"});
    object.dataset = std::move(dataset);
    return object;
  }

  void put_root() {
    set("/", "format", std::string("kvtape"));
    set("/", "format_version", std::int64_t{1});
    for (const auto& [name, text] : {std::pair("source", &tape_.source),
                                     std::pair("producer", &tape_.producer),
                                     std::pair("model", &tape_.model)})
      if (!text->empty()) set("/", name, *text);
  }

  void put_metadata(const std::string& path, const CacheMetadata& m) {
    set(path, "batch_size", m.batch_size);
    set(path, "sequence_length", m.sequence_length);
    set(path, "num_hidden_layers", m.num_hidden_layers);
    set_if(path, "pad_token_id", m.pad_token_id);
    set_if(path, "num_heads", m.num_heads);
    set_if(path, "head_dim", m.head_dim);
    set_if(path, "key_heads", m.key_heads);
    set_if(path, "value_heads", m.value_heads);
    set_if(path, "key_dim", m.key_dim);
    set_if(path, "value_dim", m.value_dim);
    set(path, "update_causal_mask", m.update_causal_mask);
    set(path, "create_attention_bias", m.create_attention_bias);
  }

  void put_attention(const std::string& path, const AttentionSpec& spec) {
    set_if(path, "query_heads", spec.query_heads);
    set_if(path, "softmax_scale", spec.softmax_scale);
    set_if(path, "logit_softcap", spec.logit_softcap);
    set_word(path, "head_map", spec.head_map);
    set_word(path, "visibility", spec.visibility);
    set_word(path, "masked_rows", spec.masked_rows);
  }

  void put_rotary(const std::string& path, const RotarySpec& spec) {
    set_if(path, "keys_rotated", spec.keys_rotated);
    set_if(path, "queries_rotated", spec.queries_rotated);
    set_word(path, "style", spec.style);
    set_if(path, "theta", spec.theta);
    set_if(path, "dims", spec.dims);
    set_if(path, "attention_factor", spec.attention_factor);
    if (!spec.inv_freq) return;
    std::vector<std::byte> bytes(spec.inv_freq->size() * sizeof(double));
    if (!bytes.empty())
      std::memcpy(bytes.data(), spec.inv_freq->data(), bytes.size());
    const Sizes sizes{std::ssize(*spec.inv_freq)};
    put_dataset(path + "/inv_freq",
                whole(DType::kF64, sizes,
                      make_source(std::move(bytes), sizes, sizeof(double))));
  }

  // ---- tensors

  void put(const std::string& path, const std::optional<Tensor>& tensor,
           const Role& role) {
    if (!tensor || in_stack_.contains(&*tensor)) return;
    if (tensor->quantized()) return put_quantized(path, *tensor);
    std::vector<Axis> axes;
    PlannedDataset dataset = whole(tensor->dtype, {}, tensor->source);
    for (const Axis& axis : tensor->axes) {
      const bool fixed = axis.kind == AxisKind::kLayer && tensor->layer;
      dataset.source_sizes.push_back(axis.size);
      dataset.box.first.push_back(fixed ? *tensor->layer : 0);
      dataset.box.count.push_back(fixed ? 1 : axis.size);
      if (fixed) continue;
      axes.push_back(axis);
      dataset.sizes.push_back(axis.size);
    }
    put_dataset(path, std::move(dataset));
    set_axes(path, axes, role.axes);
  }

  void set_axes(const std::string& path, const std::vector<Axis>& axes,
                std::string_view usual) {
    if (!axes.empty())
      at(path).dataset->axes = split_words(axes_text(axes, "").axes);
    const AxesText text = axes_text(axes, usual);
    if (!text.axes.empty()) set(path, "axes", text.axes);
    if (!text.names.empty()) set(path, "axis_names", text.names);
  }

  void put_quantized(const std::string& path, const Tensor& tensor) {
    const Quantization& q = tensor.quantization;
    const bool int8 = q.scheme == Quantization::Scheme::kInt8;
    Sizes sizes;
    for (const Axis& axis : tensor.axes) sizes.push_back(axis.size);
    set(path, "quantization", std::string(int8 ? "8bit" : "nf4"));
    set(path, "block_size", q.block_size);
    set(path, "shape", sizes);
    set(path, "dtype", std::string(dtype_word(tensor.dtype)));
    const AxesText text = axes_text(tensor.axes, kKeyRole.axes);
    if (!text.names.empty()) set(path, "axis_names", text.names);
    put_dataset(path + "/data",
                flat(q.payload_dtype, q.payload_count,
                     int8 ? sizes : Sizes{q.payload_count}, tensor.source));
    if (int8 && !sizes.empty()) sizes.back() = 1;
    put_dataset(path + (int8 ? "/scale" : "/absmax"),
                flat(q.scale_dtype, q.scale_count,
                     int8 ? sizes : Sizes{q.scale_count}, q.scales));
  }

  // All layers of one stacked dataset, as they were: /stack.
  void put_stack(const std::string& name,
                 std::optional<Tensor> LayerCache::*member) {
    const SlabSource* source = nullptr;
    std::map<std::int64_t, std::int64_t> numbers;  // by index in the stack
    const Tensor* first = nullptr;
    for (const auto& [number, layer] : tape_.cache.layers) {
      const auto& tensor = layer.*member;
      if (!tensor || !tensor->layer) continue;
      if (source == nullptr) source = tensor->source.get();
      if (source != tensor->source.get()) return;
      first = &*tensor;
      if (!numbers.emplace(*tensor->layer, number).second) return;
    }
    if (first == nullptr ||
        std::ssize(numbers) != extent(*first, AxisKind::kLayer))
      return;
    Sizes layers;
    for (const auto& [index, number] : numbers) layers.push_back(number);
    const std::string path = "/stack/" + name;
    Sizes sizes;
    for (const Axis& axis : first->axes) sizes.push_back(axis.size);
    put_dataset(path, whole(first->dtype, sizes, first->source));
    set_axes(path, first->axes, kStackRole.axes);
    set(path, "layers", layers);
    for (const auto& [number, layer] : tape_.cache.layers)
      if ((layer.*member) && (layer.*member)->layer)
        in_stack_.insert(&*(layer.*member));
  }

  void put_layer(const std::string& path, const LayerCache& layer) {
    at(path);
    set_if(path, "layer_index", layer.layer_index);
    set_if(path, "frozen", layer.frozen);
    set_if(path, "window", layer.window);
    set_word(path, "layout", layer.layout);
    put_attention(path, layer.attention);
    put_rotary(path, layer.rotary);
    put(path + "/key", layer.key, kKeyRole);
    put(path + "/value", layer.value, kKeyRole);
    put(path + "/index", layer.index, kRowRole);
    put(path + "/starts", layer.starts, kRowRole);
    put(path + "/slot_position", layer.slot_position, kSlotRole);
  }

  void put_trace(const Trace& trace) {
    const std::string path = "/trace";
    at(path);
    if (trace.keys_in)
      set(path, "keys_in",
          std::string(*trace.keys_in == Trace::KeysIn::kCache ? "cache"
                                                              : "trace"));
    put(path + "/step_lengths", trace.step_lengths, kStepRole);
    put(path + "/start_index", trace.start_index, kRowRole);
    put(path + "/attention_mask", trace.attention_mask, kMaskRole);
    put(path + "/token_mask", trace.token_mask, kTokenRole);
    put(path + "/positions", trace.positions, kTokenRole);
    for (const auto& [number, layer] : trace.layers)
      put_layer_trace(path + "/layers/" + std::to_string(number), layer);
    for (const auto& [number, operation] : trace.operations)
      put_operation(path + "/operations/" + std::to_string(number), operation);
  }

  void put_layers(const std::string& path,
                  const std::map<std::int64_t, LayerCache>& layers) {
    for (const auto& [number, layer] : layers)
      put_layer(path + "/layers/" + std::to_string(number), layer);
  }

  // [batch, position] or all four axes.
  void put_mask(const std::string& path, const std::optional<Tensor>& mask) {
    put(path, mask, mask && mask->axes.size() <= 2 ? kSlotRole : kFullMaskRole);
  }

  void put_operation(const std::string& path, const Operation& operation) {
    at(path);
    set_word(path, "op", operation.kind);
    set_if(path, "layer", operation.layer);
    set_if(path, "query_length", operation.query_length);
    set_if(path, "sliding_window", operation.sliding_window);
    set_if(path, "quantization", operation.quantization);
    set_if(path, "block_size", operation.block_size);
    set_if(path, "slot", operation.slot);
    set_if(path, "end_index", operation.end_index);
    set_if(path, "error", operation.error);
    put(path + "/key", operation.key, kTraceRole);
    put(path + "/value", operation.value, kTraceRole);
    put_mask(path + "/attention_mask", operation.attention_mask);
    put_mask(path + "/causal_mask", operation.causal_mask);
    put(path + "/token_type_ids", operation.token_type_ids, kTokenRole);
    put(path + "/values", operation.values, kRowRole);
    if (operation.other) put_other(path + "/other", *operation.other);
    if (operation.result) put_result(path + "/result", *operation.result);
  }

  void put_other(const std::string& path, const Cache& other) {
    at(path);
    if (other.metadata != CacheMetadata())
      put_metadata(path + "/metadata", other.metadata);
    put_layers(path, other.layers);
  }

  void put_result(const std::string& path, const OperationResult& result) {
    at(path);
    put(path + "/key", result.key, kKeyRole);
    put(path + "/value", result.value, kKeyRole);
    put_mask(path + "/mask", result.mask);
    put_layers(path, result.layers);
    put(path + "/attention_mask", result.attention_mask, kSlotRole);
  }

  void put_layer_trace(const std::string& path, const LayerTrace& layer) {
    at(path);
    put(path + "/query", layer.query, kTraceRole);
    put(path + "/key", layer.key, kTraceRole);
    put(path + "/value", layer.value, kTraceRole);
    put(path + "/output", layer.output, kTraceRole);
    put(path + "/attention_mask", layer.attention_mask, kMaskRole);
    put(path + "/start_index", layer.start_index, kRowRole);
  }

  void put_final(const FinalState& state) {
    at("/final");
    put_layers("/final", state.layers);
    put("/final/attention_mask", state.attention_mask, kSlotRole);
  }

  void put_extra(const Extra& extra) {
    at(extra.path);
    if (extra.tensor) {
      Tensor tensor = *extra.tensor;
      const auto named = [](const Axis& axis) {
        return axis.kind != AxisKind::kBatch || !axis.name.empty();
      };
      const bool unnamed =
          std::none_of(tensor.axes.begin(), tensor.axes.end(), named);
      std::string usual;  // axes without names go without attribute
      if (unnamed) usual = axes_text(tensor.axes, "").axes;
      put(extra.path, tensor, {.axes = usual});
      if (unnamed) at(extra.path).dataset->axes.clear();
    }
    add_attributes(at(extra.path).attributes, extra.attributes);
  }

  // There may be very many: those of a hostile file.
  static void add_attributes(Attributes& attributes, const Attributes& more) {
    std::set<std::string> taken;
    for (const auto& [name, value] : attributes) taken.insert(name);
    for (const auto& [name, value] : more)
      if (taken.insert(name).second) attributes.emplace_back(name, value);
  }

  const Tape& tape_;
  WritePlan plan_;
  std::set<const Tensor*> in_stack_;
};

bool is_whole(const PlannedDataset& dataset) {
  return dataset.box.count == dataset.source_sizes;
}

}  // namespace

WritePlan plan_of(const Tape& tape, Stacks stacks) {
  return Planner(tape).run(stacks);
}

std::int64_t bytes_of(const PlannedDataset& dataset) {
  const auto count = checked_product(dataset.sizes);
  const auto bytes =
      count ? checked_mul(*count, bytes_per_element(dataset.dtype)) : count;
  if (!bytes)
    throw Error({.field = "shape",
                 .expected = "a size that fits 63 bits",
                 .found = "a larger one"});
  return *bytes;
}

void read_planned(const PlannedDataset& dataset, Box box,
                  std::span<std::byte> out) {
  const auto bytes = dataset.source->bytes();
  if (bytes.empty()) return dataset.source->read(box, out);
  const int size = bytes_per_element(dataset.dtype);
  check_box(box, dataset.source_sizes, size, out.size());
  copy_box(bytes.data(), dataset.source_sizes, size, box, out);
}

namespace {

// `count` elements of the dataset from number `at` on, in order.
void read_elements(const PlannedDataset& dataset, std::int64_t at,
                   std::int64_t count, std::span<std::byte> out) {
  const std::int64_t size = bytes_per_element(dataset.dtype);
  for_each_run(dataset.box.count, at, count, [&](Box run) {
    std::int64_t bytes = size;
    for (std::size_t axis = 0; axis < run.first.size(); ++axis) {
      run.first[axis] += dataset.box.first[axis];
      bytes *= run.count[axis];
    }
    read_planned(dataset, run, out.first(static_cast<std::size_t>(bytes)));
    out = out.subspan(static_cast<std::size_t>(bytes));
  });
}

}  // namespace

void stream(const PlannedDataset& dataset, ThreadPool& pool,
            const std::function<void(std::span<const std::byte>)>& visit) {
  constexpr std::int64_t kSlabBytes = 8 << 20;
  constexpr std::int64_t kPartBytes = 256 << 10;  // at least, for a thread
  const std::int64_t size = bytes_per_element(dataset.dtype);
  const std::int64_t total = bytes_of(dataset) / size;
  const auto bytes = dataset.source->bytes();
  if (is_whole(dataset) && !bytes.empty()) {
    if (std::ssize(bytes) != total * size)
      throw Error({.field = "bytes",
                   .expected = std::to_string(total * size),
                   .found = std::to_string(bytes.size())});
    constexpr std::size_t kPiece = 1 << 20;  // stays in a cache meanwhile
    for (std::size_t at = 0; at < bytes.size(); at += kPiece)
      visit(bytes.subspan(at, std::min(kPiece, bytes.size() - at)));
    return;
  }
  std::vector<std::byte> slab;
  for (std::int64_t at = 0; at < total;) {
    const std::int64_t count = std::min(kSlabBytes / size, total - at);
    slab.resize(static_cast<std::size_t>(count * size));
    // A part of the slab for each thread, unless waking it would cost more; the
    // first that fails is told.
    const std::int64_t part =
        std::max((count - 1) / pool.size() + 1, kPartBytes / size);
    pool.run((count - 1) / part + 1, [&](std::int64_t task, int /*worker*/) {
      const std::int64_t first = task * part;
      const std::int64_t here = std::min(part, count - first);
      read_elements(
          dataset, at + first, here,
          std::span(slab).subspan(static_cast<std::size_t>(first * size),
                                  static_cast<std::size_t>(here * size)));
    });
    visit(slab);
    at += count;
  }
}

}  // namespace kvtape
