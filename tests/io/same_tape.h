// Are two tapes the same, bytes of tensors included?
#pragma once

#include <string>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape::test {

/// The bytes of a source's elements, in memory order; of one layer where layers
/// are stacked.
std::vector<std::byte> bytes_of(const Tensor& tensor);

/// What differs, one line each; nothing where all is the same.
std::vector<std::string> differences(const Tape& a, const Tape& b);

/// The path of a file that testdata/make.py wrote.
std::string made(const std::string& name);

}  // namespace kvtape::test
