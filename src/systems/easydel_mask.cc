#include "systems/easydel_mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/checked.h"
#include "kvtape/error.h"
#include "systems/array.h"
#include "systems/slab_copy.h"

namespace kvtape::easydel {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

[[noreturn]] void incompatible(const Mask& a, const Mask& b) {
  throw Error({.text = fmt::format(
                   "logical op got incompatible shapes for broadcasting: {}, "
                   "{}.",
                   shape_text(a.sizes), shape_text(b.sizes))});
}

// All elements in memory order, which is the order of the axes.
std::vector<double> numbers(const Tensor& tensor) {
  Box box;
  for (const Axis& axis : tensor.axes) {
    box.first.push_back(0);
    box.count.push_back(axis.size);
  }
  const auto size = at(bytes_per_element(tensor.dtype));
  std::vector<double> result(at(element_count(tensor)));
  std::vector<std::byte> bytes(result.size() * size);
  tensor.source->read(box, bytes);
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] = load_number(tensor.dtype, bytes.data() + i * size);
  return result;
}

std::array<std::int64_t, 4> sizes_of(const Tensor& tensor) {
  const std::size_t rank = tensor.axes.size();
  if (rank == 0 || rank > 4)
    throw Error({.field = "attention_mask",
                 .expected = "one to four axes",
                 .found = shape_text(tensor)});
  std::array<std::int64_t, 4> sizes{1, 1, 1, 1};
  for (std::size_t i = 0; i < rank; ++i)
    sizes[4 - rank + i] = tensor.axes[i].size;
  if (rank == 2) std::swap(sizes[0], sizes[2]);  // [batch, position]
  return sizes;
}

template <typename Predicate>
Mask where(const Tensor& tensor, const Predicate& predicate) {
  Mask mask = empty_mask(sizes_of(tensor));
  const auto values = numbers(tensor);
  std::transform(values.begin(), values.end(), mask.bits.begin(),
                 [&](double x) { return predicate(x) ? 1 : 0; });
  return mask;
}

}  // namespace

std::int64_t Mask::offset(std::int64_t batch, std::int64_t head,
                          std::int64_t query, std::int64_t position) const {
  std::int64_t index = 0;
  const std::int64_t where[] = {batch, head, query, position};
  for (std::size_t axis = 0; axis < 4; ++axis)
    index = index * sizes[axis] + (sizes[axis] == 1 ? 0 : where[axis]);
  return index;
}

Mask empty_mask(const std::array<std::int64_t, 4>& sizes) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;  // bytes, in memory
  const auto count = checked_product(sizes);
  if (!count || *count > kMost)
    throw Error({.field = "mask",
                 .expected = fmt::format("at most {} elements", kMost),
                 .found = shape_text(sizes)});
  return {.sizes = sizes, .bits = std::vector<std::uint8_t>(at(*count))};
}

Mask mask_of(const Tensor& tensor) {
  return where(tensor, [](double x) { return x < 0 || x > 0 || x != x; });
}

Mask mask_of_ones(const Tensor& tensor) {
  if (tensor.dtype == DType::kBool) return mask_of(tensor);
  return where(tensor, [](double x) { return x >= 1 && x <= 1; });
}

bool zeros_and_ones(const Tensor& tensor) {
  const auto values = numbers(tensor);
  return std::all_of(values.begin(), values.end(), [](double x) {
    return (x >= 0 && x <= 0) || (x >= 1 && x <= 1);
  });
}

Mask logical_and(const Mask& a, const Mask& b) {
  std::array<std::int64_t, 4> sizes{};
  for (std::size_t axis = 0; axis < 4; ++axis) {
    if (a.sizes[axis] != b.sizes[axis] && a.sizes[axis] != 1 &&
        b.sizes[axis] != 1)
      incompatible(a, b);
    sizes[axis] = a.sizes[axis] == 1 ? b.sizes[axis] : a.sizes[axis];
  }
  Mask result = empty_mask(sizes);
  auto bit = result.bits.begin();
  for (std::int64_t batch = 0; batch < sizes[0]; ++batch)
    for (std::int64_t head = 0; head < sizes[1]; ++head)
      for (std::int64_t query = 0; query < sizes[2]; ++query)
        for (std::int64_t slot = 0; slot < sizes[3]; ++slot)
          *bit++ =
              a.at(batch, head, query, slot) & b.at(batch, head, query, slot);
  return result;
}

Mask causal_rows(const Mask& causal, std::span<const std::int64_t> index,
                 std::int64_t queries, std::int64_t length) {
  const auto& sizes = causal.sizes;
  const std::int64_t batch = std::ssize(index);
  if (sizes[0] != 1 && sizes[0] != batch)
    throw Error({.field = "causal_mask",
                 .text = fmt::format("Incompatible shapes for broadcasting: {} "
                                     "and requested batch {}",
                                     shape_text(sizes), batch)});
  if (sizes[1] < 1 || sizes[2] < queries || sizes[3] < length)
    throw Error(
        {.field = "causal_mask",
         .text = fmt::format(
             "slice slice_sizes must be less than or equal to operand shape, "
             "got slice_sizes (1, {}, {}) for operand shape {}.",
             queries, length, shape_text(std::span(sizes).subspan(1)))});
  Mask result = empty_mask({batch, 1, queries, length});
  auto bit = result.bits.begin();
  for (std::int64_t row = 0; row < batch; ++row) {
    const std::int64_t first = clamped_start(index[at(row)], sizes[2], queries);
    for (std::int64_t query = 0; query < queries; ++query)
      for (std::int64_t slot = 0; slot < length; ++slot)
        *bit++ = causal.at(row, 0, first + query, slot);
  }
  return result;
}

void add_token_types(const Tensor& token_type_ids, Mask& causal) {
  const auto types = integers(token_type_ids);
  const std::int64_t rows = extent(token_type_ids, AxisKind::kBatch);
  const std::int64_t tokens = rows == 0 ? 0 : std::ssize(types) / rows;
  const auto& sizes = causal.sizes;
  if (rows != 1 && rows != tokens)
    throw Error({.field = "token_type_ids",
                 .text = fmt::format("Incompatible shapes for broadcasting: "
                                     "shapes=[({0}, {1}), (), ({0}, {1}, {1})]",
                                     rows, tokens)});
  if ((rows != 1 && rows != sizes[0]) || tokens < sizes[2] || tokens > sizes[3])
    throw Error({.field = "token_type_ids",
                 .expected = fmt::format("rows for {} and {} to {} tokens",
                                         sizes[0], sizes[2], sizes[3]),
                 .found = fmt::format("({}, {})", rows, tokens)});
  const auto type = [&](std::int64_t row, std::int64_t token) {
    return types[at((rows == 1 ? 0 : row) * tokens + token)];
  };
  for (std::int64_t row = 0; row < sizes[0]; ++row)
    for (std::int64_t query = 0; query < sizes[2]; ++query)
      for (std::int64_t slot = 0; slot < tokens; ++slot)
        if (type(row, query) == type(row, slot) && type(query, slot) != 0)
          causal.bits[at((row * sizes[2] + query) * sizes[3] + slot)] = 1;
}

Mask written_slots(std::span<const std::int64_t> index, std::int64_t length) {
  Mask mask = empty_mask({std::ssize(index), 1, 1, length});
  auto bit = mask.bits.begin();
  for (const std::int64_t end : index)
    for (std::int64_t slot = 0; slot < length; ++slot)
      *bit++ = slot < end ? 1 : 0;
  return mask;
}

Tensor tensor_of(const Mask& mask) {
  std::vector<std::byte> bytes(mask.bits.size());
  if (!bytes.empty()) std::memcpy(bytes.data(), mask.bits.data(), bytes.size());
  return make_tensor(DType::kBool,
                     {{AxisKind::kBatch, "batch", mask.sizes[0]},
                      {AxisKind::kHead, "head", mask.sizes[1]},
                      {AxisKind::kToken, "query", mask.sizes[2]},
                      {AxisKind::kPosition, "position", mask.sizes[3]}},
                     std::move(bytes));
}

}  // namespace kvtape::easydel
