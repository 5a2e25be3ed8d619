// Rotary embedding of whole slabs.
#include "ops/rotation.h"

#include "kernels/rotary.h"

namespace kvtape {

Rotation::Rotation(const Rotary& rotary)
    : style_(rotary.style),
      factor_(rotary.attention_factor),
      frequencies_(rotary.inv_freq) {
  if (frequencies_.empty())
    frequencies_ = kernels::inverse_frequencies(rotary.theta, rotary.dims);
}

void Rotation::apply(std::span<const std::int64_t> positions,
                     std::int64_t heads, std::int64_t dim,
                     float* vectors) const {
  const auto table = kernels::rotary_table(positions, frequencies_, factor_);
  const auto rotate = style_ == RotaryStyle::kHalf
                          ? kernels::rotate_half
                          : kernels::rotate_interleaved;
  for (std::int64_t at = 0; at < std::ssize(positions); ++at)
    for (std::int64_t head = 0; head < heads; ++head, vectors += dim)
      rotate(table, at, vectors);
}

}  // namespace kvtape
