// Floats in another dtype; what quantized codes stand for.
#include <algorithm>
#include <cstring>

#include "core/box.h"
#include "kernels/convert.h"
#include "kernels/quantized.h"
#include "ops/box_parts.h"
#include "ops/tensor_sources.h"
#include "systems/element.h"

namespace kvtape {
namespace {

using Sizes = std::vector<std::int64_t>;

// Bytes that are read at a time: they stay in the second-level cache.
constexpr std::int64_t kPieceBytes = 1 << 18;

class ConvertedSource final : public SlabSource {
 public:
  ConvertedSource(std::shared_ptr<const SlabSource> base, Sizes sizes,
                  DType from, DType to)
      : base_(std::move(base)),
        sizes_(std::move(sizes)),
        from_(from),
        to_(to) {}

  std::span<const std::byte> bytes() const override { return {}; }

  void read(const Box& box, std::span<std::byte> out) const override {
    const std::int64_t size = bytes_per_element(to_);
    check_box(box, sizes_, bytes_per_element(to_), out.size());
    if (out.empty()) return;
    std::vector<std::byte> piece;
    for_each_part(
        box, kPieceBytes / bytes_per_element(from_), [&](const Box& part) {
          const std::int64_t count = product(part.count);
          piece.resize(static_cast<std::size_t>(count) *
                       static_cast<std::size_t>(bytes_per_element(from_)));
          base_->read(part, piece);
          kernels::convert(piece.data(), element_of(from_), count,
                           element_of(to_), out.data());
          out = out.subspan(static_cast<std::size_t>(count * size));
        });
  }

  Storage storage() const override {
    return {.layout = "computed",
            .filters = "",
            .stored_bytes = product(sizes_) * bytes_per_element(to_)};
  }

 private:
  std::shared_ptr<const SlabSource> base_;
  Sizes sizes_;
  DType from_;
  DType to_;
};

// Codes and scales of one range of heads at a time.
class DequantizedSource final : public SlabSource {
 public:
  explicit DequantizedSource(const Tensor& tensor)
      : tensor_(tensor), size_(bytes_per_element(tensor.dtype)) {
    for (const Axis& axis : tensor.axes) sizes_.push_back(axis.size);
  }

  std::span<const std::byte> bytes() const override { return {}; }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, size_, out.size());
    if (out.empty()) return;
    const std::int64_t dims = sizes_.back();
    const std::int64_t most = std::max<std::int64_t>(1, kPieceBytes / 4 / dims);
    // Whole heads are read, whatever part of their dims is wanted.
    const Sizes heads(sizes_.begin(), sizes_.end() - 1);
    const Box part{Sizes(box.first.begin(), box.first.end() - 1),
                   Sizes(box.count.begin(), box.count.end() - 1)};
    Scratch scratch;
    for_each_row(heads, part, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t done = 0; done < count; done += most) {
        const std::int64_t now = std::min(most, count - done);
        read_heads((first + done) * dims, now, scratch);
        for (std::int64_t head = 0; head < now; ++head) {
          const auto bytes = static_cast<std::size_t>(box.count.back() * size_);
          std::memcpy(
              out.data(),
              scratch.result.data() + (head * dims + box.first.back()) * size_,
              bytes);
          out = out.subspan(bytes);
        }
      }
    });
  }

  Storage storage() const override {
    return {.layout = "computed",
            .filters = "",
            .stored_bytes = product(sizes_) * size_};
  }

 private:
  struct Scratch {
    std::vector<std::byte> codes;
    std::vector<std::byte> scales;
    std::vector<float> numbers;
    std::vector<std::byte> result;
  };

  static const std::byte* load(const SlabSource& source, std::int64_t first,
                               std::int64_t count, int size,
                               std::vector<std::byte>& into) {
    into.resize(static_cast<std::size_t>(count * size));
    source.read({.first = {first}, .count = {count}}, into);
    return into.data();
  }

  // Elements from `first` on, of so many heads.
  void read_heads(std::int64_t first, std::int64_t heads,
                  Scratch& scratch) const {
    const Quantization& q = tensor_.quantization;
    const std::int64_t dims = sizes_.back();
    const std::int64_t count = heads * dims;
    const kernels::Element logical = element_of(tensor_.dtype);
    scratch.numbers.resize(static_cast<std::size_t>(count));
    scratch.result.resize(static_cast<std::size_t>(count * size_));
    if (q.scheme == Quantization::Scheme::kInt8) {
      const auto* codes = reinterpret_cast<const std::int8_t*>(
          load(*tensor_.source, first, count, 1, scratch.codes));
      const std::byte* scales =
          load(*q.scales, first / dims, heads, size_, scratch.scales);
      kernels::dequantize_int8(codes, scales, logical, heads, dims,
                               scratch.numbers.data());
    } else {
      // Counted from where a byte and a block begin together.
      const std::int64_t block = q.block_size;
      const std::int64_t both = block % 2 == 0 ? block : 2 * block;
      const std::int64_t base = first / both * both;
      const std::int64_t last = first + count - 1;
      const auto* codes = reinterpret_cast<const std::uint8_t*>(
          load(*tensor_.source, base / 2, last / 2 - base / 2 + 1, 1,
               scratch.codes));
      const std::byte* scales =
          load(*q.scales, base / block, last / block - base / block + 1, size_,
               scratch.scales);
      kernels::dequantize_nf4(codes, scales, logical, block, first - base,
                              count, scratch.numbers.data());
    }
    kernels::convert(reinterpret_cast<const std::byte*>(scratch.numbers.data()),
                     kernels::Element::kF32, count, logical,
                     scratch.result.data());
  }

  Tensor tensor_;
  int size_;  // bytes of an element
  Sizes sizes_;
};

}  // namespace

std::shared_ptr<const SlabSource> converted_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    DType from, DType to) {
  return std::make_shared<ConvertedSource>(std::move(base), std::move(sizes),
                                           from, to);
}

std::shared_ptr<const SlabSource> dequantized_source(const Tensor& tensor) {
  return std::make_shared<DequantizedSource>(tensor);
}

}  // namespace kvtape
