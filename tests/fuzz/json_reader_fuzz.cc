// libFuzzer: documents of JSON. The first byte says how the text arrives; the
// same text in other pieces must be read, or refused, in the same words.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "io/json_reader.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

TextStream stream_of(std::string_view text, std::size_t piece) {
  constexpr std::size_t kBlockBytes = 8192;  // more than an input has
  return TextStream(
      [text, piece](std::span<char> out) mutable {
        const std::size_t count = std::min({piece, out.size(), text.size()});
        if (count > 0) std::memcpy(out.data(), text.data(), count);
        text.remove_prefix(count);
        return count;
      },
      {}, kBlockBytes);
}

// What reading gives, in a text: a word for each object, or the error.
std::string outcome(std::string_view text, std::size_t piece) {
  static const auto input = InputFile::standard_input();
  TextStream stream = stream_of(text, piece);
  try {
    const JsonTape read = read_json_tape(stream, input);
    std::string result = read.is_record ? "record" : "document";
    for (const Extra& extra : read.tape.extras) {
      result += extra.path;
      if (extra.tensor)
        for (const std::byte byte : extra.tensor->source->bytes())
          result += static_cast<char>(byte);
    }
    for (const Finding& finding : read.tape.findings)
      result += finding.rule + finding.object + finding.found;
    return result;
  } catch (const Error& error) {
    return error.what();
  }
}

void check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace
}  // namespace kvtape

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data,
                                      std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1),
                              size - 1);
  const std::string whole = kvtape::outcome(text, text.size() + 1);
  const std::size_t piece = data[0];
  if (piece > 0 && piece < 64)
    kvtape::check(kvtape::outcome(text, piece) == whole);
  return 0;
}
