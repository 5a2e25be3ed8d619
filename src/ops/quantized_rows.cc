// Quantizing after every step, page by page where blocks allow it.
#include "ops/quantized_rows.h"

#include <algorithm>
#include <cstring>

#include "core/slab.h"
#include "kernels/quantized.h"
#include "kvtape/error.h"
#include "systems/element.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

using kernels::kSpan;

constexpr std::int64_t kFloat = sizeof(float);

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

bool is_int8(const Tensor& tensor) {
  return tensor.quantization.scheme == Quantization::Scheme::kInt8;
}

std::int64_t elements_of_slot(const Tensor& tensor) {
  return extent(tensor, AxisKind::kHead) * extent(tensor, AxisKind::kDim);
}

std::int64_t block_of(const Tensor& tensor) {
  return is_int8(tensor) ? extent(tensor, AxisKind::kDim)
                         : tensor.quantization.block_size;
}

std::byte* bytes_of(std::vector<float>& values) {
  return reinterpret_cast<std::byte*>(values.data());
}

}  // namespace

CodeBytes::CodeBytes(const SlabSource& source, std::int64_t first,
                     std::int64_t count, std::int64_t size) {
  const auto bytes = source.bytes();
  if (!bytes.empty()) {
    borrowed_ = bytes.subspan(at(first * size), at(count * size));
    return;
  }
  make_writable(at(count * size));
  source.read({.first = {first}, .count = {count}}, own_);
}

void CodeBytes::make_writable(std::size_t size) {
  if (!owned_) own_.assign(borrowed_.begin(), borrowed_.end());
  owned_ = true;
  own_.resize(size);
}

bool rows_are_apart(const Tensor& tensor) {
  const std::int64_t slot = elements_of_slot(tensor);
  if (is_int8(tensor)) return true;
  return slot % 2 == 0 && slot % tensor.quantization.block_size == 0;
}

QuantizedRows::QuantizedRows(const Tensor& tensor, std::int64_t first,
                             std::int64_t last)
    : tensor_(&tensor),
      rows_(last - first),
      by_page_(rows_are_apart(tensor) && last - first == 1),
      block_(block_of(tensor)) {
  const std::int64_t row =
      extent(tensor, AxisKind::kPosition) * elements_of_slot(tensor);
  const std::int64_t begin = first * row;
  elements_ = (last - first) * row;
  const std::int64_t codes_in_byte = is_int8(tensor) ? 1 : 2;
  codes_ = CodeBytes(*tensor.source, begin / codes_in_byte,
                     elements_ / codes_in_byte, 1);
  scales_ = CodeBytes(*tensor.quantization.scales, begin / block_,
                      elements_ / block_, bytes_per_element(tensor.dtype));
}

void QuantizedRows::dequantize(const Run& run, float* to) const {
  const std::byte* scales =
      scales_.bytes().data() +
      run.first / block_ * bytes_per_element(tensor_->dtype);
  if (is_int8(*tensor_))
    kernels::dequantize_int8(
        reinterpret_cast<const std::int8_t*>(codes_.bytes().data()) + run.first,
        scales, element_of(tensor_->dtype), run.count / block_, block_, to);
  else
    kernels::dequantize_nf4(
        reinterpret_cast<const std::uint8_t*>(codes_.bytes().data()),
        scales_.bytes().data(), element_of(tensor_->dtype), block_, run.first,
        run.count, to);
}

void QuantizedRows::quantize(const Run& run, const float* from) {
  std::byte* scales =
      scales_.data() + run.first / block_ * bytes_per_element(tensor_->dtype);
  if (is_int8(*tensor_))
    kernels::quantize_int8(
        from, element_of(tensor_->dtype), run.count / block_, block_,
        reinterpret_cast<std::int8_t*>(codes_.data()) + run.first, scales);
  else
    kernels::quantize_nf4(
        from, element_of(tensor_->dtype), block_, run.count,
        reinterpret_cast<std::uint8_t*>(codes_.data()) + run.first / 2, scales);
}

void QuantizedRows::resize(std::int64_t elements) {
  if (elements % block_ != 0 || (!is_int8(*tensor_) && elements % 2 != 0))
    throw Error({.field = "block_size",
                 .expected = "a divisor of the " + std::to_string(elements) +
                             " elements of a layer that grew",
                 .found = std::to_string(block_)});
  elements_ = elements;
  codes_.make_writable(at(is_int8(*tensor_) ? elements : elements / 2));
  scales_.make_writable(
      at(elements / block_ * bytes_per_element(tensor_->dtype)));
}

PagedRows QuantizedRows::dequantized(std::int64_t row_in_group) const {
  const std::int64_t slots = extent(*tensor_, AxisKind::kPosition);
  const std::int64_t heads = extent(*tensor_, AxisKind::kHead);
  const std::int64_t dim = extent(*tensor_, AxisKind::kDim);
  PagedRows rows(DType::kF32, slots, heads, dim);
  std::vector<float> values;
  for (std::int64_t first = 0; first < slots; first += kSpan) {
    const std::int64_t count = std::min(kSpan, slots - first);
    values.resize(at(count * heads * dim));
    dequantize({.first = (row_in_group * slots + first) * heads * dim,
                .count = count * heads * dim},
               values.data());
    rows.write(first,
               packed_slab(bytes_of(values), DType::kF32, {count, heads, dim}));
  }
  return rows;
}

PagedRows QuantizedRows::read_only(std::int64_t row_in_group) const {
  if (!is_int8(*tensor_)) return dequantized(row_in_group);
  const std::int64_t slots = extent(*tensor_, AxisKind::kPosition);
  const std::int64_t heads = extent(*tensor_, AxisKind::kHead);
  const std::int64_t first = row_in_group * slots * heads;
  SlabView view = packed_slab(codes().data() + first * block_, tensor_->dtype,
                              {slots, heads, block_});
  view.scales = scales().data() + first * bytes_per_element(tensor_->dtype);
  view.scale_strides = {heads, 1};
  return PagedRows(view);
}

void QuantizedRows::requantize_page(PagedRows& rows, std::int64_t page) {
  if (!rows.changed(page)) return;
  const SlabView view = rows.page(page);
  const std::int64_t slot = rows.heads() * rows.dim();
  const Run run{.first = page * kSpan * slot, .count = view.shape[0] * slot};
  std::vector<float> before(at(run.count));
  copy_slab(view, DType::kF32, bytes_of(before));
  quantize(run, before.data());
  std::vector<float> after(at(run.count));
  dequantize(run, after.data());
  if (std::memcmp(before.data(), after.data(), at(run.count * kFloat)) == 0)
    rows.settle(page);
  else
    rows.write(page * kSpan,
               packed_slab(bytes_of(after), DType::kF32, view.shape));
}

void QuantizedRows::requantize_pages(PagedRows& rows, ThreadPool& pool) {
  resize(rows.slots() * rows.heads() * rows.dim());
  pool.run(rows.pages(), [&](std::int64_t page, int /*worker*/) {
    requantize_page(rows, page);
  });
}

void QuantizedRows::requantize_together(const std::vector<PagedRows*>& rows) {
  const PagedRows& like = *rows.front();
  const std::int64_t row = like.slots() * like.heads() * like.dim();
  resize(row * std::ssize(rows));
  std::vector<float> all(at(elements_));
  std::byte* to = bytes_of(all);
  for (PagedRows* part : rows) {
    part->copy_to(to);
    to += row * kFloat;
  }
  const Run run{.first = 0, .count = elements_};
  quantize(run, all.data());
  dequantize(run, all.data());
  const std::byte* from = bytes_of(all);
  for (PagedRows* part : rows) {
    part->write(0, packed_slab(from, DType::kF32,
                               {like.slots(), like.heads(), like.dim()}));
    from += row * kFloat;
  }
}

void QuantizedRows::requantize(const std::vector<PagedRows*>& rows,
                               ThreadPool& pool) {
  if (by_page_)
    requantize_pages(*rows.front(), pool);
  else
    requantize_together(rows);
}

}  // namespace kvtape
