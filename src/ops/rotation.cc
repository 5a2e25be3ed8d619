// Rotary embedding: angles in double precision, one rounding at the end.
#include "ops/rotation.h"

#include "ops/elementary.h"

namespace kvtape {

Rotation::Rotation(const Rotary& rotary)
    : style_(rotary.style),
      factor_(rotary.attention_factor),
      frequencies_(rotary.inv_freq) {
  if (!frequencies_.empty()) return;
  const double octaves = log2_of(rotary.theta);
  for (std::int64_t pair = 0; pair < rotary.dims / 2; ++pair)
    frequencies_.push_back(exp2_of(-2.0 * static_cast<double>(pair) /
                                   static_cast<double>(rotary.dims) * octaves));
}

void Rotation::apply(std::int64_t position, std::int64_t heads,
                     std::int64_t dim, float* vectors) const {
  const auto pairs = static_cast<std::int64_t>(frequencies_.size());
  const bool half = style_ == RotaryStyle::kHalf;
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    const SinCos turn =
        sin_cos_of(static_cast<double>(position) *
                   frequencies_[static_cast<std::size_t>(pair)]);
    const double cosine = turn.cos * factor_;
    const double sine = turn.sin * factor_;
    float* first = vectors + (half ? pair : 2 * pair);
    float* second = half ? first + pairs : first + 1;
    for (std::int64_t head = 0; head < heads; ++head) {
      const double a = static_cast<double>(first[head * dim]);
      const double b = static_cast<double>(second[head * dim]);
      first[head * dim] = static_cast<float>(a * cosine - b * sine);
      second[head * dim] = static_cast<float>(b * cosine + a * sine);
    }
  }
}

}  // namespace kvtape
