#include "kernels/histogram.h"

#include "kernels/cloned.h"
#include "kernels/difference.h"
#include "kernels/elements.h"

namespace kvtape::kernels {

void count_bits(const std::byte* data, Element element, std::int64_t count,
                std::uint32_t* counts) {
  switch (element) {
    case Element::kF16:
    case Element::kBF16:
      for (std::int64_t i = 0; i < count; ++i)
        ++counts[load<std::uint16_t>(data + 2 * i)];
      break;
    case Element::kF32:
      for (std::int64_t i = 0; i < count; ++i)
        ++counts[load<std::uint32_t>(data + 4 * i) >> 16];
      break;
    case Element::kF64:
      for (std::int64_t i = 0; i < count; ++i) {
        const auto rounded = static_cast<float>(load<double>(data + 8 * i));
        ++counts[std::bit_cast<std::uint32_t>(rounded) >> 16];
      }
      break;
  }
}

double bin_number(std::size_t bin, Element element) {
  const auto bits = static_cast<std::uint16_t>(bin);
  return static_cast<double>(element == Element::kF16 ? from_f16(bits)
                                                      : from_bf16(bits));
}

namespace {

using Half = double __attribute__((vector_size(32)));  // of the lanes

[[gnu::always_inline]] inline Half half_at(const double* numbers) {
  return load<Half>(reinterpret_cast<const std::byte*>(numbers));
}

}  // namespace

KVTAPE_CLONED double sum_of_squares(const double* numbers, std::int64_t count) {
  Half low{};
  Half high{};
  for (std::int64_t i = 0; i < padded_run(count); i += kLanes) {
    const Half first = half_at(numbers + i);
    const Half second = half_at(numbers + i + kLanes / 2);
    low += first * first;
    high += second * second;
  }
  const Half four = low + high;
  return (four[0] + four[2]) + (four[1] + four[3]);
}

KVTAPE_CLONED void add_squares(const double* numbers, std::int64_t count,
                               double* squares) {
  std::int64_t i = 0;
  for (; i + kLanes / 2 <= count; i += kLanes / 2) {
    const Half x = half_at(numbers + i);
    store(reinterpret_cast<std::byte*>(squares + i),
          half_at(squares + i) + x * x);
  }
  for (; i < count; ++i) squares[i] += numbers[i] * numbers[i];
}

}  // namespace kvtape::kernels
