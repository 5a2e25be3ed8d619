// The program: every way to end has one exit status, decided here.
#include <csignal>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/parse.h"
#include "io/atomic_file.h"

namespace kvtape::cli {
namespace {

// A signal ends the program as it would anyway, but leaves no temporary file.
void end_by_signal(int number) {
  remove_temporary_files();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void prepare_signals() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP})
    if (std::signal(number, SIG_IGN) != SIG_IGN)
      std::signal(number, end_by_signal);
  // Also where whoever started us ignores it.
  std::signal(SIGPIPE, end_by_signal);
  // A file that grows too long is an error of the write.
  std::signal(SIGXFSZ, SIG_IGN);
}

int run(int count, char** words) {
  try {
    const Outcome outcome = run_program(
        std::vector<std::string>(words + (count > 0), words + count));
    write_stdout(outcome.out);
    return outcome.status;
  } catch (const Error& error) {
    print_error(error);
  } catch (const std::bad_alloc&) {
    print_error(Error({.text = "out of memory"}));
  } catch (const std::exception& error) {
    print_error(Error({.text = error.what()}));
  }
  return kTrouble;
}

}  // namespace
}  // namespace kvtape::cli

int main(int count, char** words) {
  kvtape::cli::prepare_streams();
  kvtape::cli::prepare_signals();
  return kvtape::cli::run(count, words);
}
