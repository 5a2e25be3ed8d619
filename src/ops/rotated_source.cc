#include "ops/rotated_source.h"

#include <algorithm>
#include <cstring>

#include "core/box.h"
#include "ops/box_parts.h"
#include "ops/rotation.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

constexpr std::int64_t kPartElements = 1 << 18;

Rotary inverse(Rotary rotary) {
  rotary.attention_factor = 1 / rotary.attention_factor;
  return rotary;
}

class RotatedSource final : public SlabSource {
 public:
  RotatedSource(std::shared_ptr<const SlabSource> base,
                std::vector<std::int64_t> sizes, DType dtype,
                const Rotary& rotary, std::vector<std::int64_t> starts,
                bool back)
      : base_(std::move(base)),
        sizes_(std::move(sizes)),
        dtype_(dtype),
        rotation_(back ? inverse(rotary) : rotary),
        starts_(std::move(starts)),
        sign_(back ? -1 : 1) {}

  std::span<const std::byte> bytes() const override { return {}; }

  void read(const Box& box, std::span<std::byte> out) const override {
    check_box(box, sizes_, bytes_per_element(dtype_), out.size());
    if (out.empty()) return;
    // Whole vectors are read, whatever part of their dims is wanted.
    Box vectors = box;
    vectors.first[3] = 0;
    vectors.count[3] = sizes_[3];
    for_each_part(vectors, kPartElements, [&](Box part) {
      part.first[3] = 0;  // a vector is never divided
      part.count[3] = sizes_[3];
      paste(rotated(part), part, box, out);
    });
  }

  Storage storage() const override {
    return {.layout = "computed",
            .filters = "",
            .stored_bytes = product(sizes_) * bytes_per_element(dtype_)};
  }

 private:
  std::vector<std::byte> rotated(const Box& part) const {
    const std::int64_t count = product(part.count);
    const auto size = static_cast<std::size_t>(bytes_per_element(dtype_));
    std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size);
    base_->read(part, bytes);
    std::vector<float> numbers(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < numbers.size(); ++i)
      numbers[i] =
          static_cast<float>(load_number(dtype_, bytes.data() + i * size));
    const std::int64_t per_row = part.count[1] * part.count[2] * sizes_[3];
    for (std::int64_t row = 0; row < part.count[0]; ++row)
      rotation_.apply(positions(part, row), part.count[2], sizes_[3],
                      numbers.data() + row * per_row);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      store_number(static_cast<double>(numbers[i]), dtype_,
                   bytes.data() + i * size);
    return bytes;
  }

  std::vector<std::int64_t> positions(const Box& part, std::int64_t row) const {
    const std::int64_t start =
        starts_[static_cast<std::size_t>(part.first[0] + row)];
    std::vector<std::int64_t> result;
    for (std::int64_t i = 0; i < part.count[1]; ++i)
      result.push_back(sign_ *
                       std::max<std::int64_t>(part.first[1] + i - start, 0));
    return result;
  }

  // The wanted dims of a part, at its place in `box`.
  void paste(const std::vector<std::byte>& bytes, const Box& part,
             const Box& box, std::span<std::byte> out) const {
    const int size = bytes_per_element(dtype_);
    Box dims{.first = {0, 0, 0, box.first[3]}, .count = part.count};
    dims.count[3] = box.count[3];
    std::vector<std::byte> wanted(
        static_cast<std::size_t>(product(dims.count) * size));
    copy_box(bytes.data(), part.count, size, dims, wanted);
    Box to = part;
    for (std::size_t axis = 0; axis < 3; ++axis)
      to.first[axis] -= box.first[axis];
    to.first[3] = 0;
    to.count[3] = box.count[3];
    paste_box(wanted, to, box.count, size, out.data());
  }

  std::shared_ptr<const SlabSource> base_;
  std::vector<std::int64_t> sizes_;
  DType dtype_;
  Rotation rotation_;
  std::vector<std::int64_t> starts_;
  std::int64_t sign_;
};

}  // namespace

std::shared_ptr<const SlabSource> rotated_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    DType dtype, Rotary rotary, std::vector<std::int64_t> starts, bool back) {
  return std::make_shared<RotatedSource>(std::move(base), std::move(sizes),
                                         dtype, rotary, std::move(starts),
                                         back);
}

}  // namespace kvtape
