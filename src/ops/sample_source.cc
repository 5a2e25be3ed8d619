// Numbers of samples: a counter is hashed, four 16-bit parts of the hash are
// added (nearly a normal distribution, exact in integers), and a scale and a
// mean of the channel applied. No state, no libm, the same bits everywhere.
#include "ops/sample_source.h"

#include <algorithm>
#include <utility>

#include "core/box.h"
#include "kernels/kernels.h"
#include "systems/element.h"

namespace kvtape {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15U;

// The finaliser of splitmix64 (Steele, Lea, Flood 2014).
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

// Mean 0, standard deviation 37837.2, at most 131070.
float bell(std::uint64_t hash) {
  const auto sum =
      static_cast<std::int32_t>((hash & 0xffff) + (hash >> 16 & 0xffff) +
                                (hash >> 32 & 0xffff) + (hash >> 48));
  return static_cast<float>(sum - 131070);
}
constexpr float kUnit = 1.0F / 37837.2F;

// What is the same for all positions of one head and dim.
struct Channel {
  float scale = 0;
  float mean = 0;
};

// Real keys have a spread of their own in each channel and a mean that is far
// from zero in some; values and queries are plainer.
Channel channel_of(SampleKind kind, std::uint64_t hash) {
  const float spread = static_cast<float>(hash & 0xff) / 256.0F;
  const float offset = static_cast<float>(hash >> 8 & 0xff) / 128.0F - 1.0F;
  if (kind == SampleKind::kQuery) return {.scale = kUnit, .mean = 0};
  const float scale = (0.5F + spread) * kUnit;
  const bool outlier = kind == SampleKind::kKey && (hash >> 16 & 15) == 0;
  return {.scale = scale, .mean = outlier ? offset : offset * 0.125F};
}

struct Coordinates {
  std::int64_t layer = 0;
  std::int64_t row = 0;
  std::int64_t slot = 0;  // or token
  std::int64_t head = 0;
  std::int64_t dim = 0;
};

class NumberSource final : public SlabSource {
 public:
  explicit NumberSource(SampleArray array);

  std::span<const std::byte> bytes() const override { return {}; }
  void read(const Box& box, std::span<std::byte> out) const override;
  Storage storage() const override {
    return {.layout = "computed", .filters = "", .stored_bytes = 0};
  }

 private:
  Coordinates coordinates(const std::vector<std::int64_t>& at) const;
  std::uint64_t row_key(std::int64_t layer, std::int64_t row) const;
  const Channel* layer_channels(std::int64_t layer) const {
    return channels_.data() + (layer - array_.layer) * heads_ * dims_;
  }
  /// -1 where the number is 0.
  std::int64_t position(std::int64_t row, std::int64_t slot) const;
  void fill_dims(const Coordinates& at, std::span<float> run) const;
  void fill_slots(const Coordinates& at, std::span<float> run) const;
  void fill(std::vector<std::int64_t> at, std::span<float> run) const;

  SampleArray array_;
  std::vector<std::int64_t> sizes_;
  std::int64_t heads_ = 1;
  std::int64_t dims_ = 1;
  std::int64_t slots_ = 0;         // 0: the array is of a trace
  std::vector<Channel> channels_;  // [layer, head, dim]
};

NumberSource::NumberSource(SampleArray array) : array_(std::move(array)) {
  for (const Axis& axis : array_.axes) {
    sizes_.push_back(axis.size);
    if (axis.kind == AxisKind::kHead) heads_ = axis.size;
    if (axis.kind == AxisKind::kDim) dims_ = axis.size;
    if (axis.kind == AxisKind::kPosition) slots_ = axis.size;
  }
  for (std::int64_t layer = 0; layer < array_.layers; ++layer) {
    const std::uint64_t key = ~row_key(array_.layer + layer, -1);
    for (std::int64_t channel = 0; channel < heads_ * dims_; ++channel)
      channels_.push_back(channel_of(
          array_.kind,
          mixed(key + static_cast<std::uint64_t>(channel) * kGolden)));
  }
}

std::uint64_t NumberSource::row_key(std::int64_t layer,
                                    std::int64_t row) const {
  const auto kind = static_cast<std::uint64_t>(array_.kind);
  const std::uint64_t layer_key =
      mixed(mixed(array_.seed + kGolden) +
            (static_cast<std::uint64_t>(layer) * 4 + kind) * kGolden);
  return mixed(layer_key + static_cast<std::uint64_t>(row) * kGolden);
}

Coordinates NumberSource::coordinates(
    const std::vector<std::int64_t>& at) const {
  Coordinates result{.layer = array_.layer};
  for (std::size_t i = 0; i < at.size(); ++i) {
    switch (array_.axes[i].kind) {
      case AxisKind::kBatch:
        result.row = result.row * sizes_[i] + at[i];
        break;
      case AxisKind::kPosition:
      case AxisKind::kToken:
        result.slot = at[i];
        break;
      case AxisKind::kHead:
        result.head = at[i];
        break;
      case AxisKind::kDim:
        result.dim = at[i];
        break;
      case AxisKind::kLayer:
        result.layer += at[i];
        break;
    }
  }
  return result;
}

std::int64_t NumberSource::position(std::int64_t row, std::int64_t slot) const {
  const auto r = static_cast<std::size_t>(row);
  if (slots_ == 0) return array_.index[r] + slot;
  const std::int64_t result =
      position_in_slot(array_.layout, slots_, array_.index[r], slot);
  const bool before = !array_.starts.empty() && result < array_.starts[r];
  return before ? -1 : result;
}

// The number with this counter, of a row with this key.
float number(std::uint64_t key, std::int64_t counter, const Channel& channel) {
  const std::uint64_t step = static_cast<std::uint64_t>(counter) * kGolden;
  return channel.mean + channel.scale * bell(mixed(key + step));
}

void NumberSource::fill_dims(const Coordinates& at,
                             std::span<float> run) const {
  const std::uint64_t key = row_key(at.layer, at.row);
  const std::int64_t filled = position(at.row, at.slot);
  const std::int64_t channel = at.head * dims_ + at.dim;
  const Channel* channels = layer_channels(at.layer) + channel;
  const std::int64_t counter = filled * heads_ * dims_ + channel;
  const auto count = static_cast<std::int64_t>(run.size());
  if (filled < 0)
    std::fill(run.begin(), run.end(), 0.0F);
  else
    for (std::int64_t i = 0; i < count; ++i)
      run[static_cast<std::size_t>(i)] = number(key, counter + i, channels[i]);
}

void NumberSource::fill_slots(const Coordinates& at,
                              std::span<float> run) const {
  const std::uint64_t key = row_key(at.layer, at.row);
  const std::int64_t channel = at.head * dims_ + at.dim;
  const Channel constants = layer_channels(at.layer)[channel];
  std::int64_t slot = at.slot;
  for (float& result : run) {
    const std::int64_t filled = position(at.row, slot++);
    const std::int64_t counter = filled * heads_ * dims_ + channel;
    result = filled < 0 ? 0.0F : number(key, counter, constants);
  }
}

// A run along the last axis of the array; dim and position are the usual ones.
void NumberSource::fill(std::vector<std::int64_t> at,
                        std::span<float> run) const {
  const AxisKind along = array_.axes.back().kind;
  if (along == AxisKind::kDim) return fill_dims(coordinates(at), run);
  if (along == AxisKind::kPosition) return fill_slots(coordinates(at), run);
  for (std::size_t i = 0; i < run.size(); ++i, ++at.back())
    fill_dims(coordinates(at), run.subspan(i, 1));
}

void NumberSource::read(const Box& box, std::span<std::byte> out) const {
  const int size = bytes_per_element(array_.dtype);
  check_box(box, sizes_, size, out.size());
  if (out.empty()) return;
  const kernels::Element element = element_of(array_.dtype);
  const auto narrow = kernels::active().narrow_f32;
  std::vector<float> run(static_cast<std::size_t>(box.count.back()));
  const std::size_t step = run.size() * static_cast<std::size_t>(size);
  std::vector<std::int64_t> at = box.first;
  for (std::size_t done = 0; done < out.size(); done += step) {
    fill(at, run);
    narrow(run.data(), box.count.back(), element, out.data() + done);
    for (std::size_t i = at.size() - 1; i-- > 0;) {
      if (++at[i] < box.first[i] + box.count[i]) break;
      at[i] = box.first[i];
    }
  }
}

}  // namespace

std::int64_t position_in_slot(Layout layout, std::int64_t extent,
                              std::int64_t index, std::int64_t slot) {
  const std::int64_t filled = std::min(index, extent);
  if (layout != Layout::kRing && slot >= filled) return -1;
  if (layout == Layout::kShift) return index - filled + slot;
  if (layout != Layout::kRing) return slot;
  // The last position below index that falls into this slot.
  const std::int64_t back = (index - 1 - slot) % extent;
  return slot < index ? index - 1 - back : -1;
}

std::shared_ptr<const SlabSource> sample_source(SampleArray array) {
  return std::make_shared<NumberSource>(std::move(array));
}

}  // namespace kvtape
