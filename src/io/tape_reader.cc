// All of format version 1, man/kvtape-cache.5.
#include "io/tape_reader.h"

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <set>

#include "io/layer_names.h"
#include "io/tensors.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::int64_t kFormatVersion = 1;
constexpr std::int64_t kMostFrequencies = 1 << 16;

class TapeReader {
 public:
  TapeReader(Tree& tree, Sources& sources)
      : tree_(tree), tensors_(tree, sources, tape_.findings) {}

  Tape run() {
    read_root();
    read_metadata();
    tape_.cache.attention = attention(tree_.group("/attention"));
    tape_.cache.rotary = rotary(tree_.group("/rotary"));
    tape_.cache.layers = layers("/layers");
    read_stack();
    tape_.cache.attention_mask = tensors_.read("/attention_mask", kSlotRole);
    tape_.cache.tokens = tensors_.read("/tokens", kSlotRole);
    read_trace();
    read_final();
    read_extras();
    return std::move(tape_);
  }

 private:
  Fields fields(Node* node) { return {node, tape_.findings}; }

  void read_root() {
    tree_.root().state = Node::State::kRead;
    const Fields root = fields(&tree_.root());
    for (const char* name : {"format", "format_version", "digest"})
      tree_.root().understand(name);
    tape_.source = root.text("source").value_or("");
    tape_.producer = root.text("producer").value_or("");
    tape_.model = root.text("model").value_or("");
  }

  void require(Node* node, const char* name) {
    const bool absent = node == nullptr ||
                        std::holds_alternative<NoValue>(node->attribute(name));
    if (absent)
      tape_.findings.push_back({.rule = "E01",
                                .object = "/metadata",
                                .field = name,
                                .expected = "an integer",
                                .found = "nothing",
                                .fix = fmt::format("write {}", name)});
  }

  void read_metadata() {
    Node* node = tree_.group("/metadata");
    for (const char* name :
         {"batch_size", "sequence_length", "num_hidden_layers"})
      require(node, name);
    tape_.cache.metadata = metadata(node);
  }

  CacheMetadata metadata(Node* node) {
    const Fields from = fields(node);
    const CacheMetadata defaults;
    return {
        .batch_size = from.integer("batch_size").value_or(0),
        .sequence_length = from.integer("sequence_length").value_or(0),
        .num_hidden_layers = from.integer("num_hidden_layers").value_or(0),
        .pad_token_id = from.integer("pad_token_id"),
        .num_heads = from.integer("num_heads"),
        .head_dim = from.integer("head_dim"),
        .key_heads = from.integer("key_heads"),
        .value_heads = from.integer("value_heads"),
        .key_dim = from.integer("key_dim"),
        .value_dim = from.integer("value_dim"),
        .update_causal_mask = from.flag("update_causal_mask")
                                  .value_or(defaults.update_causal_mask),
        .create_attention_bias = from.flag("create_attention_bias")
                                     .value_or(defaults.create_attention_bias),
    };
  }

  AttentionSpec attention(Node* node) {
    const Fields from = fields(node);
    return {
        .query_heads = from.integer("query_heads"),
        .softmax_scale = from.number("softmax_scale"),
        .logit_softcap = from.number("logit_softcap"),
        .head_map =
            from.word("head_map", "\"repeat\" or \"tile\"", head_map_from_name),
        .visibility =
            from.word("visibility", "\"causal\", \"mask\" or \"range\"",
                      visibility_from_name),
        .masked_rows =
            from.word("masked_rows", "\"uniform\", \"zeros\" or \"nan\"",
                      masked_rows_from_name),
    };
  }

  RotarySpec rotary(Node* node) {
    const Fields from = fields(node);
    return {
        .keys_rotated = from.flag("keys_rotated"),
        .queries_rotated = from.flag("queries_rotated"),
        .style = from.word("style", "\"none\", \"half\" or \"interleaved\"",
                           rotary_style_from_name),
        .theta = from.number("theta"),
        .dims = from.integer("dims"),
        .attention_factor = from.number("attention_factor"),
        .inv_freq = frequencies(node),
    };
  }

  // The one dataset whose elements are read at once: it is part of the spec.
  std::optional<std::vector<double>> frequencies(Node* parent) {
    if (parent == nullptr) return {};
    Node* node = tree_.find(parent->path() + "/inv_freq");
    if (node == nullptr || node->is_group()) return {};
    node->state = Node::State::kExpected;
    const Tensor tensor = tensors_.extra(*node);
    const bool usable = is_float(tensor.dtype) && tensor.axes.size() == 1 &&
                        tensor.axes[0].size <= kMostFrequencies &&
                        bytes_per_element(tensor.dtype) >= 4;
    if (!usable) {
      tape_.findings.push_back(
          {.rule = "E06",
           .object = node->path(),
           .field = "dtype",
           .expected = "a list of f32 or f64",
           .found = std::string(name(tensor.dtype)) + " " + shape_text(tensor),
           .fix = "store one f64 per rotated pair"});
      return {};
    }
    node->state = Node::State::kRead;
    return numbers(tensor);
  }

  static std::vector<double> numbers(const Tensor& tensor) {
    const auto count = static_cast<std::size_t>(tensor.axes[0].size);
    const auto size = static_cast<std::size_t>(bytes_per_element(tensor.dtype));
    std::vector<std::byte> bytes(count * size);
    tensor.source->read({{0}, {tensor.axes[0].size}}, bytes);
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) {
      float narrow = 0;
      if (size == sizeof(double)) {
        std::memcpy(&values[i], &bytes[i * size], size);
      } else {
        std::memcpy(&narrow, &bytes[i * size], size);
        values[i] = static_cast<double>(narrow);
      }
    }
    return values;
  }

  // ---- layers

  LayerCache layer(Node& node) {
    const Fields from = fields(&node);
    const std::string& path = node.path();
    return {
        .key = tensors_.read(path + "/key", kKeyRole),
        .value = tensors_.read(path + "/value", kKeyRole),
        .index = tensors_.read(path + "/index", kRowRole),
        .starts = tensors_.read(path + "/starts", kRowRole),
        .slot_position = tensors_.read(path + "/slot_position", kSlotRole),
        .layer_index = from.integer("layer_index"),
        .frozen = from.flag("frozen"),
        .window = from.integer("window"),
        .layout = from.word("layout",
                            "\"linear\", \"ring\", \"shift\" or \"growing\"",
                            layout_from_name),
        .attention = attention(&node),
        .rotary = rotary(&node),
    };
  }

  void refuse_layer(const std::string& path, std::string expected,
                    std::string found) {
    tape_.findings.push_back({.rule = "E05",
                              .object = path,
                              .field = "layer",
                              .expected = std::move(expected),
                              .found = std::move(found),
                              .fix = "name the groups of layers 0, 1, 2, ..."});
  }

  /// Calls `visit(number, node)` for every group that is named as a layer.
  template <typename Visit>
  void for_each_layer(const std::string& path, const Visit& visit) {
    Node* parent = tree_.group(path);
    if (parent == nullptr) return;
    std::map<std::int64_t, std::string> seen;
    for (Node* node : parent->children) {
      const auto number = layer_number(node->name());
      const bool usable = number && node->is_group();
      if (usable && seen.emplace(*number, node->path()).second) {
        node->state = Node::State::kRead;
        visit(*number, *node);
        continue;
      }
      node->state = Node::State::kExpected;
      refuse_layer(node->path(), "a group with a number of its own for a name",
                   node->is_group() ? std::string(node->name()) : "a dataset");
    }
  }

  std::map<std::int64_t, LayerCache> layers(const std::string& path) {
    std::map<std::int64_t, LayerCache> result;
    for_each_layer(path, [&](std::int64_t number, Node& node) {
      result.emplace(number, layer(node));
    });
    return result;
  }

  // ---- stacked layers

  void read_stack() {
    Node* stack = tree_.group("/stack");
    if (stack == nullptr) return;
    stack_one(*stack, "key", &LayerCache::key);
    stack_one(*stack, "value", &LayerCache::value);
  }

  // Their numbers: at the dataset, or at /stack for both, or 0, 1, 2, ...
  std::optional<std::vector<std::int64_t>> layer_numbers(Node& stack,
                                                         Node& node,
                                                         std::int64_t count) {
    auto numbers = fields(&node).integers("layers");
    if (!numbers) numbers = fields(&stack).integers("layers");
    if (!numbers) {
      numbers.emplace();
      for (std::int64_t i = 0; i < count; ++i) numbers->push_back(i);
    }
    const std::set<std::int64_t> different(numbers->begin(), numbers->end());
    if (std::ssize(*numbers) == count && std::ssize(different) == count &&
        (count == 0 || *different.begin() >= 0))
      return numbers;
    refuse_layer(node.path(), fmt::format("{} different numbers", count),
                 fmt::format("{} of {}", different.size(), numbers->size()));
    return {};
  }

  void stack_one(Node& stack, const char* name,
                 std::optional<Tensor> LayerCache::*member) {
    const std::string path = stack.path() + "/" + name;
    const auto tensor = tensors_.read(path, kStackRole);
    if (!tensor) return;
    Node& node = *tree_.find(path);
    const auto numbers =
        layer_numbers(stack, node, extent(*tensor, AxisKind::kLayer));
    if (!numbers) {
      node.state = Node::State::kExpected;
      node.forget_all();
      return;
    }
    for (std::size_t i = 0; i < numbers->size(); ++i) {
      auto& place = tape_.cache.layers[(*numbers)[i]].*member;
      if (place)
        refuse_layer(path, "each layer once",
                     fmt::format("layer {} under /layers too", (*numbers)[i]));
      place = tensor;
      place->layer = static_cast<std::int64_t>(i);
    }
  }

  // ---- the trace and the final state

  static std::optional<Trace::KeysIn> keys_in_from_name(std::string_view text) {
    if (text == "trace") return Trace::KeysIn::kTrace;
    if (text == "cache") return Trace::KeysIn::kCache;
    return {};
  }

  LayerTrace layer_trace(Node& node) {
    const std::string& path = node.path();
    for (const char* kept : {"/hidden", "/output_projected"})
      if (Node* extra = tree_.find(path + kept))
        extra->state = Node::State::kExpected;
    return {
        .query = tensors_.read(path + "/query", kTraceRole),
        .key = tensors_.read(path + "/key", kTraceRole),
        .value = tensors_.read(path + "/value", kTraceRole),
        .output = tensors_.read(path + "/output", kTraceRole),
        .attention_mask = tensors_.read(path + "/attention_mask", kMaskRole),
        .start_index = tensors_.read(path + "/start_index", kRowRole),
    };
  }

  void read_trace() {
    Node* node = tree_.group("/trace");
    if (node == nullptr) return;
    Trace& trace = tape_.trace.emplace();
    trace.keys_in = fields(node).word("keys_in", "\"trace\" or \"cache\"",
                                      keys_in_from_name);
    trace.step_lengths = tensors_.read("/trace/step_lengths", kStepRole);
    trace.start_index = tensors_.read("/trace/start_index", kRowRole);
    trace.attention_mask = tensors_.read("/trace/attention_mask", kMaskRole);
    trace.token_mask = tensors_.read("/trace/token_mask", kTokenRole);
    trace.positions = tensors_.read("/trace/positions", kTokenRole);
    for_each_layer("/trace/layers", [&](std::int64_t number, Node& layer) {
      trace.layers.emplace(number, layer_trace(layer));
    });
    for_each_layer("/trace/operations", [&](std::int64_t number, Node& each) {
      trace.operations.emplace(number, operation(each));
    });
  }

  // [batch, position] or all four axes.
  std::optional<Tensor> mask(const std::string& path) {
    const Node* node = tree_.find(path);
    const bool flat = node != nullptr && !node->is_group() &&
                      node->dataset()->sizes.size() <= 2;
    return tensors_.read(path, flat ? kSlotRole : kFullMaskRole);
  }

  Cache other_cache(const std::string& path) {
    return {.metadata = metadata(tree_.group(path + "/metadata")),
            .layers = layers(path + "/layers")};
  }

  OperationResult operation_result(const std::string& path) {
    return {
        .key = tensors_.read(path + "/key", kKeyRole),
        .value = tensors_.read(path + "/value", kKeyRole),
        .mask = mask(path + "/mask"),
        .layers = layers(path + "/layers"),
        .attention_mask = tensors_.read(path + "/attention_mask", kSlotRole),
    };
  }

  Operation operation(Node& node) {
    const Fields from = fields(&node);
    const std::string& path = node.path();
    Operation result{
        .kind =
            from.word("op", "an operation of a log", operation_kind_from_name),
        .layer = from.integer("layer"),
        .key = tensors_.read(path + "/key", kTraceRole),
        .value = tensors_.read(path + "/value", kTraceRole),
        .query_length = from.integer("query_length"),
        .attention_mask = mask(path + "/attention_mask"),
        .causal_mask = mask(path + "/causal_mask"),
        .token_type_ids = tensors_.read(path + "/token_type_ids", kTokenRole),
        .sliding_window = from.integer("sliding_window"),
        .quantization = from.text("quantization"),
        .block_size = from.integer("block_size"),
        .slot = from.integer("slot"),
        .values = tensors_.read(path + "/values", kRowRole),
        .end_index = from.integer("end_index"),
        .error = from.text("error"),
    };
    if (tree_.group(path + "/other"))
      result.other = other_cache(path + "/other");
    if (tree_.group(path + "/result"))
      result.result = operation_result(path + "/result");
    return result;
  }

  void read_final() {
    if (tree_.group("/final") == nullptr) return;
    FinalState& state = tape_.final_state.emplace();
    state.layers = layers("/final/layers");
    state.attention_mask = tensors_.read("/final/attention_mask", kSlotRole);
  }

  // ---- what nobody asked for

  void read_extras() {
    for (const auto& [number, cached] : tape_.cache.layers)
      if (Node* weights = tree_.find(fmt::format("/layers/{}/weights", number)))
        weights->state = Node::State::kExpected;
    for (const Finding& finding : tape_.findings)
      reported_.emplace(finding.object, finding.field);
    add_extra(tree_.root(), true);
  }

  void warn(const char* rule, const Node& node, std::string field) {
    tape_.findings.push_back({.rule = rule,
                              .object = node.path(),
                              .field = std::move(field),
                              .expected = "what kvtape-cache(5) names",
                              .found = "something else, kept",
                              .fix = "check its spelling, or leave it"});
  }

  // Warns of names only where they may be misspelled ones.
  void add_extra(Node& node, bool warns) {
    if (node.state == Node::State::kUnknown && warns) {
      warn("W02", node, "object");
      warns = false;
    }
    if (node.state == Node::State::kExpected) warns = false;
    const bool read = node.state == Node::State::kRead;
    std::optional<Tensor> tensor;
    if (!read && !node.is_group()) tensor = tensors_.extra(node);
    const Attributes others = node.others();
    if (!read || !others.empty())
      tape_.extras.push_back({node.path(), others, std::move(tensor)});
    if (warns && node.path() != "/") warn_attributes(node, others);
    for (Node* child : node.children) add_extra(*child, warns);
  }

  void warn_attributes(const Node& node, const Attributes& others) {
    for (const auto& [name, value] : others)
      if (!reported_.contains({node.path(), name})) warn("W01", node, name);
  }

  Tape tape_;
  Tree& tree_;
  TensorReader tensors_;
  std::set<std::pair<std::string, std::string>> reported_;  // object, field
};

void check_version(Node& root) {
  std::vector<Finding> ignored;
  const auto version = Fields(&root, ignored).integer("format_version");
  if (version == kFormatVersion) return;
  const bool newer = version && *version > kFormatVersion;
  throw Error({.field = "format_version",
               .expected = std::to_string(kFormatVersion),
               .found = value_text(root.attribute("format_version")),
               .hint = newer ? "a newer kvtape may read it"
                             : "set it to the integer 1"});
}

}  // namespace

Tape tape_of(const std::vector<StoredObject>& objects, Sources& sources) {
  Tree tree(objects);
  check_version(tree.root());
  return TapeReader(tree, sources).run();
}

}  // namespace kvtape
