#include "io/wire.h"

#include <cstring>

#include "kvtape/error.h"

namespace kvtape {
namespace {

[[noreturn]] void refuse() {
  throw Error({.text = "kvtape-hdf5 sent what no file can hold: the file is "
                       "corrupt or hostile"});
}

}  // namespace

void WireWriter::number(std::int64_t value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  data_.insert(data_.end(), bytes.begin(), bytes.end());
}

void WireWriter::real(double value) {
  std::int64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  number(bits);
}

void WireWriter::bytes(std::span<const std::byte> bytes) {
  number(std::ssize(bytes));
  data_.insert(data_.end(), bytes.begin(), bytes.end());
}

void WireWriter::text(std::string_view text) {
  bytes(std::as_bytes(std::span(text)));
}

void WireWriter::list(std::span<const std::int64_t> numbers) {
  bytes(std::as_bytes(numbers));
}

std::span<const std::byte> WireReader::take(std::uint64_t bytes) {
  if (bytes > data_.size()) refuse();
  const auto taken = data_.first(bytes);
  data_ = data_.subspan(bytes);
  return taken;
}

std::int64_t WireReader::number() {
  std::int64_t value = 0;
  std::memcpy(&value, take(sizeof value).data(), sizeof value);
  return value;
}

std::int64_t WireReader::number(std::int64_t least, std::int64_t most) {
  const std::int64_t value = number();
  if (value < least || value > most) refuse();
  return value;
}

double WireReader::real() {
  const std::int64_t bits = number();
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::string WireReader::text() {
  const auto taken = take(static_cast<std::uint64_t>(number()));
  return {reinterpret_cast<const char*>(taken.data()), taken.size()};
}

std::vector<std::byte> WireReader::bytes() {
  const auto taken = take(static_cast<std::uint64_t>(number()));
  return {taken.begin(), taken.end()};
}

std::vector<std::int64_t> WireReader::list() {
  const auto taken = take(static_cast<std::uint64_t>(number()));
  if (taken.size() % sizeof(std::int64_t) != 0) refuse();
  std::vector<std::int64_t> numbers(taken.size() / sizeof(std::int64_t));
  if (!taken.empty()) std::memcpy(numbers.data(), taken.data(), taken.size());
  return numbers;
}

void WireReader::end() const {
  if (!data_.empty()) refuse();
}

}  // namespace kvtape
