// libFuzzer: arrays of numbers. The first byte says the dtype, the second how
// the text arrives. What is read must be JSON for nlohmann too, be the same in
// other pieces, and be what is read again from what is written of it.
#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/number_scan.h"
#include "io/number_text.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

struct Reading {
  std::string error;  // or nothing
  std::vector<std::byte> elements;
  std::size_t used = 0;
};

Reading read(DType dtype, std::string_view text, std::size_t piece) {
  const auto bytes = static_cast<std::size_t>(bytes_per_element(dtype));
  Reading result;
  // An array of so much text has fewer elements; which is found by reading.
  const std::size_t room = text.size() + 1;
  result.elements.resize(room * bytes);
  NumberScan scan(dtype, static_cast<std::int64_t>(room));
  try {
    std::size_t end = 0;
    while (!scan.done()) {
      end = std::min(text.size(), end + piece);
      scan.write_to(
          std::span(result.elements)
              .subspan(static_cast<std::size_t>(scan.elements()) * bytes));
      result.used += scan.feed(text.substr(result.used, end - result.used),
                               end == text.size());
    }
  } catch (const Error& error) {
    result.error = error.what();
  }
  result.elements.resize(static_cast<std::size_t>(scan.elements()) * bytes);
  return result;
}

void check(bool holds) {
  if (!holds) std::abort();
}

void check_read(DType dtype, std::string_view text, const Reading& reading) {
  check(
      nlohmann::json::accept("[" + std::string(text.substr(0, reading.used))));
  std::string written;
  append_numbers(dtype, reading.elements, written);
  const Reading again = read(dtype, written + "]", written.size() + 1);
  check(again.elements == reading.elements);
}

}  // namespace
}  // namespace kvtape

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data,
                                      std::size_t size) {
  using namespace kvtape;
  if (size < 2) return 0;
  const DType dtype = kDTypes[data[0] % kDTypes.size()].dtype;
  const std::string_view text(reinterpret_cast<const char*>(data + 2),
                              size - 2);
  const Reading whole = read(dtype, text, size);
  if (data[1] > 0) {
    const Reading other = read(dtype, text, data[1]);
    check(other.error == whole.error && other.elements == whole.elements);
  }
  if (whole.error.empty()) check_read(dtype, text, whole);
  return 0;
}
