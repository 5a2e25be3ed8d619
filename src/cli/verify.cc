#include "cli/verify.h"

#include <fmt/format.h>

#include "cli/arguments.h"
#include "cli/output.h"
#include "kvtape/error.h"
#include "kvtape/io.h"
#include "report/text.h"

namespace kvtape::cli {

void add_verify(CLI::App& app, bool& verify) {
  add_flag(
      app,
      {.names = "--verify",
       .help =
           "First check the digests that the files recorded: are the tensors "
           "those that were written?",
       .group = "Work"},
      verify);
}

void verify_digests(const Tape& tape, const std::string& file,
                    std::int64_t threads) {
  try {
    check_edited(tape);
    if (check_digests(tape, static_cast<int>(threads)) != 0) return;
  } catch (const Error& error) {
    throw located(error, file);
  }
  write_stderr(
      fmt::format("kvtape: note: {} records no digests: nothing to "
                  "verify\n",
                  printable(file)));
}

}  // namespace kvtape::cli
