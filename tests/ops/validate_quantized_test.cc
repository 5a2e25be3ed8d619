// Slots of quantized caches, in place and behind a source that is only read.
#include <catch2/catch.hpp>
#include <cmath>

#include "hidden_source.h"
#include "kvtape/validate.h"
#include "ops/tapes.h"

namespace kvtape {
namespace {

constexpr std::int64_t kRows = 2;
constexpr std::int64_t kSlots = 8;
constexpr std::int64_t kHeads = 2;
constexpr std::int64_t kDims = 6;
constexpr std::int64_t kSlotElements = kHeads * kDims;
constexpr std::int64_t kElements = kRows * kSlots * kSlotElements;

/// Codes and scales of one key or value, before they become a tensor.
struct Parts {
  Quantization::Scheme scheme = Quantization::Scheme::kInt8;
  std::vector<std::uint8_t> codes;  // int8: one each, NF4: two in a byte
  std::vector<float> scales;

  std::int64_t codes_per_slot() const {
    return scheme == Quantization::Scheme::kInt8 ? kSlotElements
                                                 : kSlotElements / 2;
  }
  std::int64_t scales_per_slot() const { return kHeads; }
};

Parts parts(Quantization::Scheme scheme, std::uint32_t seed) {
  Parts result{.scheme = scheme};
  const bool int8 = scheme == Quantization::Scheme::kInt8;
  for (const float x : test::numbers(
           static_cast<std::size_t>(int8 ? kElements : kElements / 2), seed))
    // No code is 0 (int8), no nibble is 7, the level 0.0 (NF4).
    result.codes.push_back(
        int8 ? static_cast<std::uint8_t>(1 + x * 120)
             : static_cast<std::uint8_t>(static_cast<int>(x * 6) << 4 | 9));
  result.scales =
      test::numbers(static_cast<std::size_t>(kElements / kDims), seed + 1);
  return result;
}

Tensor tensor_of(const Parts& parts, bool hidden) {
  const bool int8 = parts.scheme == Quantization::Scheme::kInt8;
  const auto codes = static_cast<std::int64_t>(parts.codes.size());
  const auto scales = static_cast<std::int64_t>(parts.scales.size());
  Tensor tensor;
  tensor.axes = test::cache_axes({kRows, kSlots, kHeads, kDims});
  tensor.source = make_source(test::bytes_of(parts.codes), {codes}, 1);
  tensor.quantization = {
      .scheme = parts.scheme,
      .block_size = int8 ? 0 : kDims,
      .scales = make_source(test::bytes_of(parts.scales), {scales}, 4),
      .scale_count = scales,
      .payload_dtype = int8 ? DType::kI8 : DType::kU8,
      .payload_count = codes};
  return hidden ? tests::hidden(tensor) : tensor;
}

/// Findings of a cache of one layer, all slots live.
std::vector<Finding> findings_of(const Parts& key, const Parts& value,
                                 bool hidden) {
  test::TapeShape shape;
  shape.layers = 1;
  shape.pads = 0;
  shape.filled = kSlots;
  Tape tape;
  tape.cache = test::sound_cache(shape);
  tape.cache.layers[0].key = tensor_of(key, hidden);
  tape.cache.layers[0].value = tensor_of(value, hidden);
  return validate(tape, {.values = true, .threads = 2}).findings;
}

/// Spoils a key and value, gives the only finding.
template <typename Spoil>
Finding only_finding(Quantization::Scheme scheme, const Spoil& spoil) {
  Parts key = parts(scheme, 1);
  Parts value = parts(scheme, 2);
  REQUIRE(findings_of(key, value, false).empty());
  REQUIRE(findings_of(key, value, true).empty());
  spoil(key, value);
  const auto findings = findings_of(key, value, false);
  CHECK(findings_of(key, value, true) == findings);
  REQUIRE(findings.size() == 1);
  return findings[0];
}

void fill(std::vector<std::uint8_t>& codes, std::int64_t first,
          std::int64_t count, std::uint8_t code) {
  std::fill_n(codes.begin() + first, count, code);
}

// Slot `from` of row 1 over slot `to`.
void copy_slot(Parts& of, std::int64_t from, std::int64_t to) {
  const std::int64_t codes = of.codes_per_slot();
  const std::int64_t scales = of.scales_per_slot();
  std::copy_n(of.codes.begin() + (kSlots + from) * codes, codes,
              of.codes.begin() + (kSlots + to) * codes);
  std::copy_n(of.scales.begin() + (kSlots + from) * scales, scales,
              of.scales.begin() + (kSlots + to) * scales);
}

const auto kBoth = {Quantization::Scheme::kInt8, Quantization::Scheme::kNF4};

TEST_CASE("unwritten slots of quantized caches are found") {
  for (const auto scheme : kBoth) {
    const bool int8 = scheme == Quantization::Scheme::kInt8;
    const Finding finding = only_finding(scheme, [&](Parts& key, Parts&) {
      fill(key.codes, 5 * key.codes_per_slot(), key.codes_per_slot(),
           int8 ? 0 : 0x77);
    });
    CHECK(finding.rule == "E72");
    CHECK(finding.found == "1 of 16 all zero, first in row 0 position 5");
  }
}

TEST_CASE("a block of zeros of a fresh NF4 cache counts as unwritten") {
  const Finding finding =
      only_finding(Quantization::Scheme::kNF4, [&](Parts&, Parts& value) {
        fill(value.codes, 3 * value.codes_per_slot(), value.codes_per_slot(),
             0xff);
        value.scales[6] = value.scales[7] = 0;
      });
  CHECK(finding.rule == "E72");
  CHECK(finding.object == "/layers/0/value");
}

TEST_CASE("heads that are zero throughout are found") {
  const Finding finding =
      only_finding(Quantization::Scheme::kInt8, [&](Parts& key, Parts&) {
        for (std::int64_t slot = 0; slot < kSlots; ++slot)
          fill(key.codes, (kSlots + slot) * kSlotElements + kDims, kDims, 0);
      });
  CHECK(finding.rule == "E74");
  CHECK(finding.found == "1 all zero, first row 1 head 1");
}

TEST_CASE("repeated slots of quantized caches are found") {
  for (const auto scheme : kBoth) {
    const Finding finding = only_finding(scheme, [&](Parts& key, Parts& value) {
      copy_slot(key, 2, 6);
      copy_slot(value, 2, 6);
    });
    CHECK(finding.rule == "E73");
    CHECK(finding.found == "1 repeated, first row 1 position 6 as position 2");
  }
}

TEST_CASE("equal codes with other scales are no repetition") {
  for (const auto scheme : kBoth) {
    Parts key = parts(scheme, 1);
    Parts value = parts(scheme, 2);
    copy_slot(key, 2, 6);
    copy_slot(value, 2, 6);
    value.scales[static_cast<std::size_t>((kSlots + 6) * kHeads)] *= 2;
    CHECK(findings_of(key, value, false).empty());
  }
}

TEST_CASE("scales that are no positive numbers are found") {
  for (const auto scheme : kBoth) {
    const Finding finding = only_finding(scheme, [&](Parts&, Parts& value) {
      value.scales[5] = -HUGE_VALF;
      value.scales[9] = std::nanf("");
    });
    CHECK(finding.rule == "E75");
    CHECK(finding.found == (scheme == Quantization::Scheme::kInt8
                                ? "2 others, first in row 0 position 2 head 1"
                                : "2 others, first in block 5"));
  }
}

}  // namespace
}  // namespace kvtape
