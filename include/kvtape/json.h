// Cache files as JSON text: man/kvtape-json.5.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "kvtape/tape.h"

namespace kvtape {

/// How the elements of tensors are spelled.
enum class Encoding : std::uint8_t {
  kNone,     // not at all: dtype, shape and axes alone
  kSummary,  // counts, extremes, mean, a digest
  kNumbers,  // shortest decimals that read back to the same elements
  kBase64,   // little-endian bytes
};
std::string_view name(Encoding value);  // "none", "summary", ...
std::optional<Encoding> encoding_from_name(std::string_view name);

enum class JsonForm : std::uint8_t {
  kDocument,  // one object, which can be read back
  kLines,     // one object for each tensor, a line each
  kTable,     // comma-separated values: a line for each element, or tensor
};

struct JsonOptions {
  Encoding encoding = Encoding::kNumbers;
  JsonForm form = JsonForm::kDocument;
  int indent = 2;   // blanks of a level of a document; 0 = all in one line
  int threads = 0;  // 0 = one per core; the text is the same for any number
  /// Told how many bytes of tensors have been read, and of how many.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

/// Takes text, in order, a few MiB at a time.
using TextSink = std::function<void(std::string_view)>;

/// Writes a tape as text, in bounded memory whatever its size. Layers that are
/// stacked in one dataset stand each by itself. Throws Error where something
/// cannot be read, or not be spelled so that it reads back; what the sink
/// throws passes as it is.
void write_json(const Tape& tape, const JsonOptions& options,
                const TextSink& sink);

}  // namespace kvtape
