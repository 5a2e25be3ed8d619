// The one line of an error.
#include "kvtape/error.h"

#include <utility>

namespace kvtape {
namespace {

std::string line(const ErrorParts& parts) {
  std::string text = parts.text;
  if (text.empty())
    text = "expected " + parts.expected + ", found " + parts.found;
  std::string result;
  for (const std::string* part : {&parts.file, &parts.object, &parts.field})
    if (!part->empty()) result += *part + ": ";
  return result + text;
}

}  // namespace

Error::Error(ErrorParts parts)
    : std::runtime_error(line(parts)), parts_(std::move(parts)) {}

Error Error::in_file(const std::string& file) const {
  ErrorParts parts = parts_;
  if (parts.file.empty()) parts.file = file;
  return Error(std::move(parts));
}

}  // namespace kvtape
