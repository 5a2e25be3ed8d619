#include "io/tensor_summary.h"

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/elements.h"
#include "kernels/quantized.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

using kernels::kSummaryBlock;
using kernels::load;

template <typename T>
void widen(const std::byte* from, std::span<double> to) {
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] = static_cast<double>(load<T>(from + i * sizeof(T)));
}

template <float (*kFrom)(std::uint16_t)>
void widen_half(const std::byte* from, std::span<double> to) {
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] = static_cast<double>(kFrom(load<std::uint16_t>(from + i * 2)));
}

void widen(DType dtype, const std::byte* from, std::span<double> to) {
  switch (dtype) {
    case DType::kF64:
      return widen<double>(from, to);
    case DType::kF32:
      return widen<float>(from, to);
    case DType::kF16:
      return widen_half<kernels::from_f16>(from, to);
    case DType::kBF16:
      return widen_half<kernels::from_bf16>(from, to);
    case DType::kI64:
      return widen<std::int64_t>(from, to);
    case DType::kI32:
      return widen<std::int32_t>(from, to);
    case DType::kI16:
      return widen<std::int16_t>(from, to);
    case DType::kI8:
      return widen<std::int8_t>(from, to);
    case DType::kU64:
      return widen<std::uint64_t>(from, to);
    case DType::kU32:
      return widen<std::uint32_t>(from, to);
    case DType::kU16:
      return widen<std::uint16_t>(from, to);
    case DType::kU8:
    case DType::kBool:
      return widen<std::uint8_t>(from, to);
  }
}

// Fills blocks, which end where they always do, whatever the slabs are.
class Blocks {
 public:
  explicit Blocks(DType dtype) : dtype_(dtype) {}

  void add(std::span<const std::byte> bytes) {
    const auto size = static_cast<std::size_t>(bytes_per_element(dtype_));
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t count =
          std::min(block_.size() - filled_, (bytes.size() - at) / size);
      widen(dtype_, bytes.data() + at,
            std::span(block_).subspan(filled_, count));
      filled_ += count;
      at += count * size;
      if (filled_ == block_.size()) finish();
    }
  }

  void finish() {
    summary_ =
        merged(summary_, kernels::summary_of(std::span(block_).first(filled_)));
    filled_ = 0;
  }

  const kernels::Summary& summary() const { return summary_; }

 private:
  DType dtype_;
  std::array<double, kSummaryBlock> block_{};
  std::size_t filled_ = 0;
  kernels::Summary summary_;
};

}  // namespace

namespace {

kernels::Element element_of(DType dtype) {
  if (dtype == DType::kF16) return kernels::Element::kF16;
  if (dtype == DType::kBF16) return kernels::Element::kBF16;
  return kernels::Element::kF32;
}

// Elements [first, first + count) of a dataset whose source is one axis.
std::vector<std::byte> part(const PlannedDataset& dataset, std::int64_t first,
                            std::int64_t count) {
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(count * bytes_per_element(dataset.dtype)));
  read_planned(dataset, {.first = {first}, .count = {count}}, bytes);
  return bytes;
}

std::int64_t elements_of(const PlannedDataset& dataset) {
  return bytes_of(dataset) / bytes_per_element(dataset.dtype);
}

}  // namespace

kernels::Summary summary_of(const PlannedCodes& tensor) {
  constexpr std::int64_t kScalesAtOnce = 4096;
  const std::int64_t scales = elements_of(tensor.scales);
  const std::int64_t codes = elements_of(tensor.codes) * (tensor.nf4 ? 2 : 1);
  if (scales == 0 || codes % scales != 0)
    throw Error({.text = "codes and scales do not fit each other",
                 .hint = "kvtape validate says more"});
  const std::int64_t run = codes / scales;  // codes of one scale
  const kernels::Element logical = element_of(tensor.dtype);
  Blocks blocks(DType::kF32);
  for (std::int64_t first = 0; first < scales; first += kScalesAtOnce) {
    const std::int64_t count = std::min(kScalesAtOnce, scales - first);
    const auto scale = part(tensor.scales, first, count);
    const auto code = part(tensor.codes, first * run / (tensor.nf4 ? 2 : 1),
                           count * run / (tensor.nf4 ? 2 : 1));
    std::vector<float> widened(static_cast<std::size_t>(count * run));
    if (tensor.nf4)
      kernels::dequantize_nf4(
          reinterpret_cast<const std::uint8_t*>(code.data()), scale.data(),
          logical, run, 0, count * run, widened.data());
    else
      kernels::dequantize_int8(
          reinterpret_cast<const std::int8_t*>(code.data()), scale.data(),
          logical, count, run, widened.data());
    blocks.add(std::as_bytes(std::span(widened)));
  }
  blocks.finish();
  return blocks.summary();
}

kernels::Summary summary_of(const PlannedDataset& dataset) {
  Blocks blocks(dataset.dtype);
  stream(dataset, [&](std::span<const std::byte> bytes) { blocks.add(bytes); });
  blocks.finish();
  return blocks.summary();
}

}  // namespace kvtape
