// Opening a cache file, whichever way it is spelled.
#include <array>

#include "io/digest.h"
#include "io/file_source.h"
#include "io/json_reader.h"
#include "io/tape_reader.h"
#include "kvtape/error.h"
#include "kvtape/io.h"

namespace kvtape {
namespace {

// HDF5, but is it ours?
void check_format(const StoredObject& root) {
  for (const auto& [name, value] : root.attributes)
    if (name == "format" && value == AttributeValue(std::string("kvtape")))
      return;
  throw Error({.text = "HDF5, but not a cache file: attribute format is not "
                       "\"kvtape\"",
               .hint = "kvtape-cache(5) has recipes that write one"});
}

TapeFile read_hdf5(const std::shared_ptr<const InputFile>& input) {
  const auto file = Hdf5File::open(input);
  FileSources sources(input, file);
  check_format(file->objects().front());
  TapeFile result{.tape = tape_of(file->objects(), sources),
                  .format = TapeFile::Format::kHdf5,
                  .bytes = input->size()};
  result.tape.edited = find_edited(file->objects());
  return result;
}

TextStream text_of(const std::shared_ptr<const InputFile>& input) {
  std::optional<std::int64_t> size;
  if (!input->is_stream()) size = input->size();
  return TextStream(
      [input, at = std::int64_t{0}](std::span<char> out) mutable {
        const std::size_t got =
            input->read_some(at, std::as_writable_bytes(out));
        at += static_cast<std::int64_t>(got);
        return got;
      },
      size);
}

constexpr std::string_view kBlanks = " \t\r\n";

// Does a text begin like a document? One that begins with a byte order mark
// or a list does, so that it is told what is wrong.
bool looks_like_json(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) return true;
  const std::size_t first = text.find_first_not_of(kBlanks);
  return first != text.npos && (text[first] == '{' || text[first] == '[');
}

TapeFile read_json(TextStream& text,
                   const std::shared_ptr<const InputFile>& input) {
  JsonTape read = read_json_tape(text, input);
  return {.tape = std::move(read.tape),
          .format = read.is_record ? TapeFile::Format::kJsonMetadata
                                   : TapeFile::Format::kJson,
          .bytes = text.position()};
}

TapeFile read_file(const std::shared_ptr<const InputFile>& input) {
  std::array<char, 4096> start{};
  const std::size_t got =
      input->read_some(0, std::as_writable_bytes(std::span(start)));
  if (!looks_like_json({start.data(), got})) return read_hdf5(input);
  TextStream text = text_of(input);
  return read_json(text, input);
}

TapeFile read_stream(const std::shared_ptr<const InputFile>& input) {
  TextStream text = text_of(input);
  while (text.ahead().find_first_not_of(kBlanks) == text.ahead().npos)
    if (!text.more()) break;
  if (looks_like_json(text.ahead())) return read_json(text, input);
  return read_hdf5(InputFile::whole(*input, text.ahead()));
}

}  // namespace

TapeFile open_tape(const std::string& path) {
  try {
    const auto input = path == kStandardInput ? InputFile::standard_input()
                                              : InputFile::open(path);
    return input->is_stream() ? read_stream(input) : read_file(input);
  } catch (const Error& error) {
    throw error.in_file(path);
  }
}

Tape read_tape(const std::string& path) { return open_tape(path).tape; }

}  // namespace kvtape
