// Slots in place, or packed: the inner loop of `validate --values`.
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "ops/pack_slab.h"
#include "ops/validate_findings.h"
#include "ops/validate_values.h"
#include "systems/element.h"

namespace kvtape {
namespace {

// A packed range stays in the second-level cache, an unpacked one is only
// cut to share the work among threads.
constexpr std::int64_t kPackedBytes = 1 << 19;
constexpr std::int64_t kPlainBytes = 1 << 22;

constexpr int kZeroCode = 7;  // the NF4 level 0.0

// Elements [first, first + count) of codes or scales, which are read as one
// axis: in place, or in `buffer`.
const std::byte* bytes_at(const SlabSource& source, int bytes_per_element,
                          std::int64_t first, std::int64_t count,
                          std::vector<std::byte>& buffer) {
  const auto all = source.bytes();
  if (!all.empty()) return all.data() + first * bytes_per_element;
  buffer.resize(static_cast<std::size_t>(count * bytes_per_element));
  source.read({.first = {first}, .count = {count}}, buffer);
  return buffer.data();
}

// Elements that one payload element, and one scale, stand for.
std::int64_t per_code(const Quantization& q) {
  return q.scheme == Quantization::Scheme::kNF4 ? 2 : 1;
}
std::int64_t per_scale(const Tensor& tensor) {
  const Quantization& q = tensor.quantization;
  return q.scheme == Quantization::Scheme::kNF4 ? q.block_size
                                                : extents_of(tensor).dims;
}

bool is_zero(const std::byte* scale, int bytes) {
  // The sign bit of a little-endian number is the highest of its last byte.
  for (int i = 0; i < bytes - 1; ++i)
    if (scale[i] != std::byte{0}) return false;
  return (scale[bytes - 1] & std::byte{0x7f}) == std::byte{0};
}

}  // namespace

bool is_sound(const Quantization& q, const Tensor& tensor) {
  const std::int64_t elements = element_count(tensor);
  const bool nf4 = q.scheme == Quantization::Scheme::kNF4;
  const std::int64_t scaled = per_scale(tensor);
  if (!q.scales || !tensor.source || !is_float(q.scale_dtype) || scaled <= 0 ||
      elements % scaled != 0 || q.scale_count != elements / scaled)
    return false;
  const auto codes = static_cast<std::size_t>(q.payload_count);
  const auto scales = static_cast<std::size_t>(
      q.scale_count * bytes_per_element(q.scale_dtype));
  const auto holds = [](const SlabSource& source, std::size_t bytes) {
    return source.bytes().empty() || source.bytes().size() >= bytes;
  };
  return q.payload_count == (nf4 ? elements / 2 + elements % 2 : elements) &&
         q.payload_dtype == (nf4 ? DType::kU8 : DType::kI8) &&
         holds(*tensor.source, codes) && holds(*q.scales, scales);
}

bool has_separate_slots(const Tensor& tensor) {
  if (!has_usable_axes(tensor) || !is_float(tensor.dtype)) return false;
  const Quantization& q = tensor.quantization;
  const Extents has = extents_of(tensor);
  const std::int64_t elements = has.heads * has.dims;
  if (elements <= 0) return false;
  if (!tensor.quantized()) return true;
  if (!is_sound(q, tensor)) return false;
  return q.scheme == Quantization::Scheme::kInt8 ||
         (elements % 2 == 0 && elements % q.block_size == 0);
}

std::int64_t positions_per_load(const Tensor& tensor) {
  const Extents has = extents_of(tensor);
  const std::int64_t slot = std::max<std::int64_t>(
      1, has.heads * has.dims * bytes_per_element(tensor.dtype));
  const Strides by = strides(tensor);
  const bool plain = tensor.quantized() ||
                     (by.dim == 1 && by.position >= has.heads * has.dims);
  return std::max<std::int64_t>(64,
                                (plain ? kPlainBytes : kPackedBytes) / slot);
}

SlotScanner::SlotScanner() : kernels_(kernels::active()) {}

void SlotScanner::load(const Tensor& tensor, std::int64_t row,
                       std::int64_t first, std::int64_t count) {
  tensor_ = &tensor;
  const Extents has = extents_of(tensor);
  heads_ = has.heads;
  dims_ = has.dims;
  if (tensor.quantized())
    load_codes(row * has.position + first, count);
  else
    load_floats(reader_.read(tensor, row, first, count));
}

void SlotScanner::load_floats(const SlabView& view) {
  data_ = packed(view, packed_);
}

void SlotScanner::load_codes(std::int64_t first_slot, std::int64_t count) {
  const Quantization& q = tensor_->quantization;
  const std::int64_t elements = heads_ * dims_;
  const std::int64_t first = first_slot * elements;
  const std::int64_t codes = per_code(q);
  const std::int64_t scaled = per_scale(*tensor_);
  data_ = bytes_at(*tensor_->source, 1, first / codes, count * elements / codes,
                   packed_);
  scale_data_ = bytes_at(*q.scales, bytes_per_element(q.scale_dtype),
                         first / scaled, count * elements / scaled, scales_);
}

// Elements [first, first + count) of the range: a zero code or a zero scale.
bool SlotScanner::codes_are_zero(std::int64_t first, std::int64_t count) const {
  const Quantization& q = tensor_->quantization;
  const bool nf4 = q.scheme == Quantization::Scheme::kNF4;
  const int size = bytes_per_element(q.scale_dtype);
  const std::int64_t scaled = per_scale(*tensor_);
  for (std::int64_t i = first; i < first + count; ++i) {
    const int byte = std::to_integer<int>(data_[nf4 ? i / 2 : i]);
    const int code = nf4 ? (i % 2 == 0 ? byte >> 4 : byte & 15) : byte;
    if (code == (nf4 ? kZeroCode : 0)) continue;
    if (!is_zero(scale_data_ + i / scaled * size, size)) return false;
  }
  return true;
}

kernels::Scan SlotScanner::slot(std::int64_t position) const {
  const std::int64_t elements = heads_ * dims_;
  if (!tensor_->quantized())
    return kernels_.scan(
        data_ + position * elements * bytes_per_element(tensor_->dtype),
        element_of(tensor_->dtype), elements);
  const Quantization& q = tensor_->quantization;
  const std::int64_t codes = elements / per_code(q);
  const std::int64_t scales =
      elements / per_scale(*tensor_) * bytes_per_element(q.scale_dtype);
  kernels::Scan scan;
  scan.nonzero = !codes_are_zero(position * elements, elements);
  scan.hash = XXH3_64bits_withSeed(
      data_ + position * codes, static_cast<std::size_t>(codes),
      XXH3_64bits(scale_data_ + position * scales,
                  static_cast<std::size_t>(scales)));
  return scan;
}

bool SlotScanner::head_is_zero(std::int64_t position, std::int64_t head) const {
  const std::int64_t first = (position * heads_ + head) * dims_;
  if (tensor_->quantized()) return codes_are_zero(first, dims_);
  return !kernels_
              .scan(data_ + first * bytes_per_element(tensor_->dtype),
                    element_of(tensor_->dtype), dims_)
              .nonzero;
}

kernels::Scan SlotScanner::element(std::int64_t at) const {
  return kernels_.scan(data_ + at * bytes_per_element(tensor_->dtype),
                       element_of(tensor_->dtype), 1);
}

std::int64_t SlotScanner::first_nan(std::int64_t position) const {
  std::int64_t at = position * heads_ * dims_;
  while (element(at).nan == 0) ++at;
  return at - position * heads_ * dims_;
}

std::int64_t SlotScanner::first_inf(std::int64_t position) const {
  std::int64_t at = position * heads_ * dims_;
  while (element(at).inf == 0) ++at;
  return at - position * heads_ * dims_;
}

void for_each_run(
    const SlabSource& source, const std::vector<std::int64_t>& sizes,
    int bytes_per_element,
    const std::function<void(std::int64_t, std::span<const std::byte>)>&
        visit) {
  const auto all = source.bytes();
  if (!all.empty()) return visit(0, all);
  // Slices along the leading axes, as thick as fits into one run.
  std::size_t cut = 0;
  std::int64_t unit = bytes_per_element;
  for (std::size_t i = sizes.size(); i-- > 1;) {
    unit *= sizes[i];
    if (unit <= kPlainBytes) continue;
    cut = i;
    unit /= sizes[i];
    break;
  }
  if (sizes.empty() || unit == 0) return;
  std::int64_t outer = 1;
  for (std::size_t i = 0; i < cut; ++i) outer *= sizes[i];
  const std::int64_t step = std::max<std::int64_t>(1, kPlainBytes / unit);
  std::vector<std::byte> buffer;
  for (std::int64_t slice = 0; slice < outer; ++slice)
    for (std::int64_t first = 0; first < sizes[cut]; first += step) {
      Box box;
      box.first.assign(sizes.size(), 0);
      box.count = sizes;
      std::int64_t rest = slice;
      for (std::size_t i = cut; i-- > 0; rest /= sizes[i]) {
        box.first[i] = rest % sizes[i];
        box.count[i] = 1;
      }
      box.first[cut] = first;
      box.count[cut] = std::min(step, sizes[cut] - first);
      buffer.resize(static_cast<std::size_t>(box.count[cut] * unit));
      source.read(box, buffer);
      visit((slice * sizes[cut] + first) * (unit / bytes_per_element), buffer);
    }
}

}  // namespace kvtape
