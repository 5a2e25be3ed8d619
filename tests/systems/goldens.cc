#include "systems/goldens.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "core/slab.h"
#include "systems/slab_copy.h"

namespace kvtape::test {
namespace {

std::vector<std::byte> from_base64(const std::string& text) {
  static const std::string kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::byte> result;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto value = kAlphabet.find(c);
    if (value == std::string::npos) break;
    bits = bits << 6 | static_cast<unsigned>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    result.push_back(static_cast<std::byte>(bits >> count & 255));
  }
  return result;
}

std::vector<AxisKind> kinds_of(std::size_t rank, bool mask) {
  using enum AxisKind;
  if (rank == 1) return {kBatch};
  if (rank == 2) return {kBatch, kPosition};
  if (mask) return {kBatch, kHead, kToken, kPosition};
  if (rank == 3) return {kBatch, kPosition, kDim};
  // penzai has more axes, and names of its own for all of them.
  std::vector<AxisKind> kinds(rank > 4 ? rank - 3 : 1, kBatch);
  kinds.insert(kinds.end(), {kPosition, kHead, kDim});
  return kinds;
}

std::vector<Axis> axes_of(const std::vector<std::int64_t>& shape, bool mask) {
  const auto kinds = kinds_of(shape.size(), mask);
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < shape.size(); ++i)
    axes.push_back({.kind = kinds[i], .name = "", .size = shape[i]});
  return axes;
}

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(
      element_count(tensor) * bytes_per_element(tensor.dtype)));
  if (has_axis(tensor, AxisKind::kToken) &&
      has_axis(tensor, AxisKind::kPosition)) {
    std::memcpy(bytes.data(), tensor.source->bytes().data(), bytes.size());
    return bytes;
  }
  SlabReader reader;
  const std::int64_t rows = extent(tensor, AxisKind::kBatch);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t length =
        extent(tensor, AxisKind::kPosition) * extent(tensor, AxisKind::kToken);
    copy_slab(reader.read(tensor, row, 0, length), tensor.dtype,
              bytes.data() + bytes.size() / static_cast<std::size_t>(rows) *
                                 static_cast<std::size_t>(row));
  }
  return bytes;
}

}  // namespace

nlohmann::json cases_of(const std::string& group) {
  const char* testdata = std::getenv("KVTAPE_TESTDATA");
  REQUIRE(testdata != nullptr);
  std::ifstream file(std::string(testdata) + "/systems/" + group + ".json");
  return nlohmann::json::parse(file);
}

nlohmann::json case_of(const std::string& group, const std::string& id) {
  for (auto& each : cases_of(group))
    if (each["id"] == id) return each;
  FAIL("no case " << id);
  return {};
}

Tensor tensor_of(const nlohmann::json& array, bool mask) {
  const auto shape = array["shape"].get<std::vector<std::int64_t>>();
  return make_tensor(*dtype_from_name(array["dtype"].get<std::string>()),
                     axes_of(shape, mask), from_base64(array["data"]));
}

Tensor int_row(const std::vector<std::int32_t>& numbers) {
  std::vector<std::byte> bytes(numbers.size() * sizeof(std::int32_t));
  std::memcpy(bytes.data(), numbers.data(), bytes.size());
  return make_tensor(DType::kI32, axes_of({std::ssize(numbers)}, false), bytes);
}

Tensor counted(const std::vector<std::int64_t>& shape, DType dtype,
               float from) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
  const auto size = static_cast<std::size_t>(bytes_per_element(dtype));
  std::vector<std::byte> bytes(count * size);
  for (std::size_t i = 0; i < count; ++i)
    store_number(static_cast<double>(from) + static_cast<double>(i), dtype,
                 bytes.data() + i * size);
  return make_tensor(dtype, axes_of(shape, false), bytes);
}

bool same(const Tensor& a, const Tensor& b) {
  if (a.dtype != b.dtype) return false;
  for (AxisKind kind : {AxisKind::kBatch, AxisKind::kPosition, AxisKind::kToken,
                        AxisKind::kHead, AxisKind::kDim})
    if (extent(a, kind) != extent(b, kind)) return false;
  return bytes_of(a) == bytes_of(b);
}

}  // namespace kvtape::test
