#include "io/tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/checked.h"
#include "io/list_text.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::string_view kFixAxes =
    "name every axis once, in memory order: axes=\"batch,position,head,dim\"";

bool may_be_empty(const Axis& axis) {
  return axis.kind == AxisKind::kPosition || axis.kind == AxisKind::kToken ||
         axis.name == "step";
}

// Every size but that of positions, tokens and steps is a divisor somewhere.
void check_sizes(const Node& node, const std::vector<Axis>& axes) {
  for (const Axis& axis : axes)
    if (axis.size == 0 && !may_be_empty(axis))
      throw Error({.object = node.path(),
                   .field = "shape",
                   .expected = "at least 1 along " + axis.name,
                   .found = "0",
                   .hint = "only positions and tokens may be none"});
}

std::set<AxisKind> kinds_of(std::string_view words) {
  std::set<AxisKind> kinds{AxisKind::kBatch, AxisKind::kHead};
  for (const std::string& word : split_words(words))
    kinds.insert(axis_kind(word));
  return kinds;
}

// The axes are those of the role: all of its kinds, no other.
bool fits(const std::vector<Axis>& axes, const Role& role) {
  const std::set<AxisKind> kinds = kinds_of(role.axes);
  std::set<AxisKind> given{AxisKind::kBatch, AxisKind::kHead};
  for (const Axis& axis : axes) given.insert(axis.kind);
  return given == kinds;
}

std::string words_text(const std::vector<std::string>& words) {
  return fmt::format("\"{}\"", joined_words(words));
}

struct DTypeWord {
  std::string_view word;
  DType dtype;
};
constexpr auto kNumpyWords = std::to_array<DTypeWord>({
    {"float64", DType::kF64},
    {"float32", DType::kF32},
    {"float16", DType::kF16},
    {"bfloat16", DType::kBF16},
});

std::optional<Quantization::Scheme> scheme_from_word(std::string_view word) {
  if (word == "8bit") return Quantization::Scheme::kInt8;
  if (word == "nf4") return Quantization::Scheme::kNF4;
  return {};
}

std::int64_t count_of(const Node& node) {
  std::int64_t count = 1;  // describe_dataset checked the product
  for (std::int64_t size : node.dataset()->sizes) count *= size;
  return count;
}

}  // namespace

std::optional<DType> float_from_word(std::string_view word) {
  for (const DTypeWord& row : kNumpyWords)
    if (row.word == word) return row.dtype;
  const auto dtype = dtype_from_name(word);
  return dtype && is_float(*dtype) ? dtype : std::nullopt;
}

void TensorReader::add(std::string rule, const Node& node, std::string field,
                       std::string expected, std::string found,
                       std::string fix) {
  findings_.push_back({.rule = std::move(rule),
                       .object = node.path(),
                       .field = std::move(field),
                       .expected = std::move(expected),
                       .found = std::move(found),
                       .fix = std::move(fix)});
}

// What h5py users can write of bf16: its bits as uint16, and an attribute.
DType TensorReader::dtype_of(Node& node) {
  const DType dtype = node.dataset()->dtype;
  const auto* word = std::get_if<std::string>(&node.attribute("dtype"));
  if (word == nullptr) return dtype;
  const auto said = float_from_word(*word);
  if (said == dtype || (dtype == DType::kU16 && said == DType::kBF16)) {
    node.understand("dtype");
    return *said;
  }
  return dtype;
}

// Ranks that differ from the usual one: more axes are batch axes in front, one
// less is a cache without heads.
std::optional<std::vector<std::string>> TensorReader::guess(const Node& node,
                                                            const Role& role) {
  std::vector<std::string> words = split_words(role.axes);
  const std::size_t rank = node.dataset()->sizes.size();
  if (words.size() == rank) return words;
  const auto head = std::find(words.begin(), words.end(), "head");
  const auto batch = std::find(words.begin(), words.end(), "batch");
  if (rank + 1 == words.size() && head != words.end()) {
    words.erase(head);
  } else if (rank > words.size() && batch != words.end()) {
    for (std::size_t number = 2; words.size() < rank; ++number)
      words.insert(std::find(words.begin(), words.end(), "batch") + 1 +
                       std::ptrdiff_t(number) - 2,
                   fmt::format("batch{}", number));
  } else {
    add("E03", node, "axes",
        fmt::format("{} axes, {}", words.size(), role.axes),
        list_text(node.dataset()->sizes), std::string(kFixAxes));
    return {};
  }
  add("W04", node, "axes", "said by the attribute axes",
      list_text(node.dataset()->sizes) + ", taken for " + words_text(words),
      "say it in the attribute axes");
  return words;
}

std::optional<std::vector<std::string>> TensorReader::words_of(
    Node& node, const Role& role) {
  const auto text = Fields(&node, findings_).text("axes");
  if (!text) return guess(node, role);
  const auto words = split_words(*text);
  if (words.size() == node.dataset()->sizes.size()) return words;
  if (text->empty() && node.dataset()->sizes.empty())
    return std::vector<std::string>();
  add("E03", node, "axes", fmt::format("{} axes", node.dataset()->sizes.size()),
      words_text(words), std::string(kFixAxes));
  return {};
}

void TensorReader::name_axes(Node& node, std::vector<Axis>& axes) {
  const auto text = Fields(&node, findings_).text("axis_names");
  if (!text) return;
  const auto names = split_words(*text);
  if (names.size() != axes.size()) {
    node.forget("axis_names");
    return add("W03", node, "axis_names", fmt::format("{} names", axes.size()),
               words_text(names), "give each axis one name, or leave it out");
  }
  for (std::size_t i = 0; i < axes.size(); ++i) axes[i].name = names[i];
}

std::optional<std::vector<Axis>> TensorReader::axes_of(Node& node,
                                                       const Role& role) {
  const auto words = words_of(node, role);
  if (!words) return {};
  auto axes = axes_from_words(*words, node.dataset()->sizes);
  if (!axes || !fits(*axes, role)) {
    add("E03", node, "axes", fmt::format("those of {}, each once", role.axes),
        words_text(*words), std::string(kFixAxes));
    return {};
  }
  check_sizes(node, *axes);
  name_axes(node, *axes);
  return axes;
}

std::optional<Tensor> TensorReader::plain(Node& node, const Role& role) {
  auto axes = axes_of(node, role);
  if (!axes) return {};
  Tensor tensor{.dtype = dtype_of(node),
                .axes = std::move(*axes),
                .source = sources_.source(node.number())};
  node.understand("digest");
  node.state = Node::State::kRead;
  if (role.checked && is_float(tensor.dtype) != role.floats)
    add("E06", node, "dtype", role.floats ? "floats" : "integers",
        std::string(name(tensor.dtype)),
        "floats for tensors, integers for index, starts and masks");
  return tensor;
}

bool TensorReader::set_scales(Node& group, Tensor& tensor) {
  const bool int8 = tensor.quantization.scheme == Quantization::Scheme::kInt8;
  const char* name = int8 ? "scale" : "absmax";
  Node* scales = tree_.find(group.path() + "/" + name);
  if (scales == nullptr || scales->is_group()) {
    add("E04", group, name, "a dataset", "nothing",
        fmt::format("write data and {}", name));
    return false;
  }
  tensor.quantization.scales = sources_.flat_source(scales->number());
  tensor.quantization.scale_count = count_of(*scales);
  tensor.quantization.scale_dtype = dtype_of(*scales);
  return true;
}

bool TensorReader::set_codes(Node& group, Tensor& tensor) {
  Node* codes = tree_.find(group.path() + "/data");
  if (codes == nullptr || codes->is_group()) {
    add("E04", group, "data", "a dataset", "nothing",
        "write the codes as data");
    return false;
  }
  tensor.source = sources_.flat_source(codes->number());
  tensor.quantization.payload_count = count_of(*codes);
  tensor.quantization.payload_dtype = codes->dataset()->dtype;
  return true;
}

namespace {

// Sizes of batch, position, head, dim; nothing where they are not four, or too
// many.
std::optional<std::vector<Axis>> logical_axes(
    const std::vector<std::int64_t>& sizes) {
  const auto count = checked_product(sizes);
  if (sizes.size() != 4 || !count || !checked_mul(*count, 8)) return {};
  return axes_from_words(split_words(kKeyRole.axes), sizes);
}

void mark_read(Tree& tree, Node& group) {
  group.state = Node::State::kRead;
  for (const char* part : {"data", "scale", "absmax"})
    if (Node* node = tree.dataset(group.path() + "/" + part))
      node->understand("digest");
}

}  // namespace

std::optional<Tensor> TensorReader::quantized(Node& group) {
  const std::size_t findings_before = findings_.size();
  const Fields fields(&group, findings_);
  const auto scheme =
      fields.word("quantization", "\"8bit\" or \"nf4\"", scheme_from_word);
  const auto shape = fields.integers("shape");
  const auto dtype =
      fields.word("dtype", "float32, float16 or bfloat16", float_from_word);
  const auto block = fields.integer("block_size");
  const bool needs_block = scheme == Quantization::Scheme::kNF4;
  if (!scheme || !shape || !dtype || (needs_block && !block)) {
    if (findings_.size() == findings_before)
      add("E04", group, "attributes",
          "quantization, shape, dtype, and block_size for nf4", "not all",
          "write all of them");
    return {};
  }
  auto axes = logical_axes(*shape);
  if (!axes) {
    add("E04", group, "shape", "sizes of batch, position, head and dim",
        list_text(*shape), "write the logical shape, before quantization");
    return {};
  }
  check_sizes(group, *axes);
  name_axes(group, *axes);
  Tensor tensor{.dtype = *dtype, .axes = std::move(*axes)};
  tensor.quantization.scheme = *scheme;
  tensor.quantization.block_size = block.value_or(0);
  if (!set_codes(group, tensor) || !set_scales(group, tensor)) return {};
  mark_read(tree_, group);
  return tensor;
}

std::optional<Tensor> TensorReader::read(const std::string& path,
                                         const Role& role) {
  Node* node = tree_.find(path);
  if (node == nullptr) return {};
  node->state = Node::State::kExpected;
  std::optional<Tensor> tensor;
  if (!node->is_group())
    tensor = plain(*node, role);
  else if (role.axes == kKeyRole.axes)
    tensor = quantized(*node);
  else
    add("E02", *node, "object", "a dataset", "a group",
        "write it as kvtape-cache(5) says");
  if (!tensor) node->forget_all();
  return tensor;
}

Tensor TensorReader::extra(Node& node) {
  const auto& sizes = node.dataset()->sizes;
  std::vector<Axis> axes;
  for (std::int64_t size : sizes) axes.push_back({.size = size});
  const auto* text = std::get_if<std::string>(&node.attribute("axes"));
  const auto words = split_words(text == nullptr ? "" : *text);
  if (text != nullptr && words.size() == sizes.size()) {
    if (auto named = axes_from_words(words, sizes)) {
      axes = std::move(*named);
      node.understand("axes");
      name_axes(node, axes);
    }
  }
  node.understand("digest");
  return {.dtype = dtype_of(node),
          .axes = std::move(axes),
          .source = sources_.source(node.number())};
}

}  // namespace kvtape
