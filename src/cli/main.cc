// The program: every way to end has one exit status, decided here.
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "cli/output.h"
#include "cli/parse.h"
#include "io/atomic_file.h"
#include "io/input_file.h"
#include "io/mapped_file.h"

namespace kvtape::cli {
namespace {

// A signal ends the program as it would anyway, but leaves no temporary file.
void end_by_signal(int number) {
  remove_temporary_files();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

// A line of an error, safe in a handler and for a terminal.
class Line {
 public:
  void add(const char* text) {
    for (; *text != '\0' && length_ < text_.size(); ++text) {
      const auto byte = static_cast<unsigned char>(*text);
      const bool is_control = (byte < 0x20 && byte != '\n') || byte == 0x7f;
      text_[length_++] = is_control ? '?' : *text;
    }
  }
  void print() const {
    std::ignore = write(STDERR_FILENO, text_.data(), length_);
  }

 private:
  std::array<char, PATH_MAX + 100> text_;
  std::size_t length_ = 0;
};

// A mapped file that has become shorter raises SIGBUS where it ended.
void end_by_short_file(int number, siginfo_t* info, void*) {
  const char* path = mapped_path(info->si_addr);
  if (path == nullptr) return end_by_signal(number);
  static std::atomic_flag said;
  while (said.test_and_set()) pause();  // another thread ends the program
  remove_temporary_files();
  Line line;
  line.add("kvtape: error: ");
  line.add(path);
  line.add(": changed while being read\n");
  line.print();
  _exit(kTrouble);
}

void prepare_signals() {
  struct sigaction short_file {};
  short_file.sa_sigaction = end_by_short_file;
  short_file.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &short_file, nullptr);
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2,
                           SIGALRM, SIGTERM, SIGXCPU, SIGVTALRM, SIGPROF})
    if (std::signal(number, SIG_IGN) != SIG_IGN)
      std::signal(number, end_by_signal);
  // Also where whoever started us ignores it.
  std::signal(SIGPIPE, end_by_signal);
  // A file that grows too long is an error of the write.
  std::signal(SIGXFSZ, SIG_IGN);
}

int run_and_say(int count, char** words) {
  try {
    const Outcome outcome = run_program(
        std::vector<std::string>(words + (count > 0), words + count));
    check_inputs_unchanged();
    write_stdout(outcome.out);
    return outcome.status;
  } catch (const Error& error) {
    print_error(error);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    print_error(Error({.text = error.what()}));
  }
  return kTrouble;
}

// Where there is no memory, there is none to say so either.
int fail_without_memory() {
  constexpr std::string_view kLine = "kvtape: error: out of memory\n";
  std::ignore = write(STDERR_FILENO, kLine.data(), kLine.size());
  return kTrouble;
}

int run(int count, char** words) {
  try {
    return run_and_say(count, words);
  } catch (const std::bad_alloc&) {
    return fail_without_memory();
  }
}

// What no catch clause sees: memory may be missing before main, for the objects
// that CLI11 makes then.
void end_uncaught() {
  try {
    if (const auto error = std::current_exception())
      std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    remove_temporary_files();
    _exit(fail_without_memory());
  } catch (...) {
  }
  std::abort();
}

[[gnu::constructor(101)]] void prepare_terminate() {
  std::set_terminate(end_uncaught);
}

}  // namespace
}  // namespace kvtape::cli

int main(int count, char** words) {
  kvtape::cli::prepare_streams();
  kvtape::cli::prepare_signals();
  return kvtape::cli::run(count, words);
}
