// The quantizers against recorded outputs of eformer's (testdata/quantizers).
#include "kernels/quantized.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/elements.h"

namespace kvtape::kernels {
namespace {

Element element_of(const std::string& dtype) {
  if (dtype == "float16") return Element::kF16;
  return dtype == "bfloat16" ? Element::kBF16 : Element::kF32;
}

float from_bits(std::uint64_t bits, Element element) {
  if (element == Element::kF32)
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  const auto half = static_cast<std::uint16_t>(bits);
  return element == Element::kF16 ? from_f16(half) : from_bf16(half);
}

std::vector<float> floats(const nlohmann::json& bits, Element element) {
  std::vector<float> result;
  for (const auto& each : bits)
    result.push_back(from_bits(each.get<std::uint64_t>(), element));
  return result;
}

std::vector<float> elements(const std::vector<std::byte>& data,
                            Element element) {
  std::vector<float> result(data.size() /
                            static_cast<std::size_t>(bytes_of(element)));
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] =
        from_bits(element == Element::kF32
                      ? load<std::uint32_t>(data.data() + 4 * i)
                      : std::uint64_t{load<std::uint16_t>(data.data() + 2 * i)},
                  element);
  return result;
}

bool equal(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](float x, float y) {
                      return x == y || (std::isnan(x) && std::isnan(y));
                    });
}

// Quantized and widened again.
struct Result {
  std::vector<int> codes;
  std::vector<float> scales;
  std::vector<float> values;
};

Result quantized(const std::vector<float>& input, bool nf4, Element element,
                 std::int64_t block) {
  const auto count = std::ssize(input);
  const std::int64_t blocks = count / block;
  std::vector<std::byte> scales(
      static_cast<std::size_t>(blocks * bytes_of(element)));
  Result result;
  result.values.resize(input.size());
  if (nf4) {
    std::vector<std::uint8_t> codes(input.size() / 2);
    quantize_nf4(input.data(), element, block, count, codes.data(),
                 scales.data());
    dequantize_nf4(codes.data(), scales.data(), element, block, 0, count,
                   result.values.data());
    result.codes.assign(codes.begin(), codes.end());
  } else {
    std::vector<std::int8_t> codes(input.size());
    quantize_int8(input.data(), element, blocks, block, codes.data(),
                  scales.data());
    dequantize_int8(codes.data(), scales.data(), element, blocks, block,
                    result.values.data());
    result.codes.assign(codes.begin(), codes.end());
  }
  result.scales = elements(scales, element);
  return result;
}

}  // namespace

TEST_CASE("quantizers give what eformer's give", "[quantized]") {
  const char* testdata = std::getenv("KVTAPE_TESTDATA");
  REQUIRE(testdata != nullptr);
  std::ifstream file(std::string(testdata) + "/quantizers/quantizers.json");
  const auto cases = nlohmann::json::parse(file);
  REQUIRE(cases.size() == 11);
  for (const auto& test : cases) {
    INFO(test["id"]);
    const Element element = element_of(test["dtype"]);
    std::vector<float> input = floats(test["input"], element);
    for (const auto& round : test["rounds"]) {
      const Result result =
          quantized(input, test["method"] == "nf4", element, round["block"]);
      CHECK(result.codes == round["codes"].get<std::vector<int>>());
      CHECK(equal(result.scales, floats(round["scales"], element)));
      CHECK(equal(result.values, floats(round["values"], element)));
      input = result.values;
    }
  }
}

TEST_CASE("int8 codes saturate", "[quantized]") {
  // The scale of 0x1.010p+0 * 127 rounds down in bf16, and a code would be
  // 128: found by trying all fractions.
  int saturated = 0;
  for (std::uint16_t bits = 0x3f80; bits < 0x4000; ++bits) {
    const float x = from_bf16(bits);
    const Result up = quantized({x, 0}, false, Element::kBF16, 2);
    const Result down = quantized({-x, 0}, false, Element::kBF16, 2);
    CHECK(up.codes[0] > 0);
    CHECK(down.codes[0] < 0);
    if (rounded_to(Element::kBF16, x / up.scales[0]) >= 127.5F) {
      ++saturated;
      CHECK(up.codes[0] == 127);
      CHECK(down.codes[0] == -128);
    }
  }
  CHECK(saturated > 0);
}

TEST_CASE("int8 of NaN, Inf and zeros", "[quantized]") {
  for (const Element element : {Element::kF32, Element::kF16, Element::kBF16}) {
    const Result nan = quantized({1, std::nanf(""), 2, 3}, false, element, 4);
    CHECK(std::isnan(nan.scales[0]));
    for (const float x : nan.values) CHECK(std::isnan(x));
    const Result inf = quantized({1, -HUGE_VALF, 2, 3}, false, element, 4);
    CHECK(inf.codes == std::vector<int>{0, 0, 0, 0});
    CHECK(inf.scales[0] == HUGE_VALF);
    for (const float x : inf.values) CHECK(std::isnan(x));
    const Result zero = quantized({0, -0.0F, 0, 0}, false, element, 4);
    CHECK(zero.codes == std::vector<int>{0, 0, 0, 0});
    CHECK(zero.scales[0] == (element == Element::kF16 ? 0x1p-14F : 0x1p-126F));
    for (const float x : zero.values) CHECK(x == 0);
  }
}

TEST_CASE("a value equal to a threshold takes the lower code", "[quantized]") {
  // Divided by 1, so that the threshold stays what it is.
  const Result result =
      quantized({1, 0.03979014977812767F, -1, -0.0F}, true, Element::kF32, 4);
  CHECK(result.codes == std::vector<int>{15 << 4 | 7, 0 << 4 | 7});
}

TEST_CASE("parts of an NF4 array are read alone", "[quantized]") {
  std::vector<float> input(30);
  for (std::size_t i = 0; i < input.size(); ++i)
    input[i] = static_cast<float>((i * 7) % 11) - 5;
  const auto count = std::ssize(input);
  std::vector<std::uint8_t> codes(15);
  std::vector<std::byte> absmax(10 * 4);
  quantize_nf4(input.data(), Element::kF32, 3, count, codes.data(),
               absmax.data());
  std::vector<float> whole(input.size());
  dequantize_nf4(codes.data(), absmax.data(), Element::kF32, 3, 0, count,
                 whole.data());
  for (std::int64_t first = 0; first < count; ++first) {
    float one = 0;
    dequantize_nf4(codes.data(), absmax.data(), Element::kF32, 3, first, 1,
                   &one);
    CHECK(one == whole[static_cast<std::size_t>(first)]);
  }
}

}  // namespace kvtape::kernels
