// The option --verify: are the tensors still those that were written?
#pragma once

#include <string>

#include "kvtape/tape.h"

namespace CLI {
class App;
}

namespace kvtape::cli {

void add_verify(CLI::App& app, bool& verify);

/// Throws Error where elements, or the structure around them, are not those
/// whose digests the file recorded; says on standard error where it recorded
/// none.
void verify_digests(const Tape& tape, const std::string& file,
                    std::int64_t threads);

}  // namespace kvtape::cli
