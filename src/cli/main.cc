// The program: every way to end has one exit status, decided here.
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/parse.h"

namespace kvtape::cli {
namespace {

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
  return kvtape::cli::run(count, words);
}
