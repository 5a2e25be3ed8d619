#include "io/hdf5_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>

#include "kvtape/error.h"
#include "kvtape/version.h"

namespace kvtape {
namespace {

constexpr int kPatience = 10'000;  // milliseconds without a word

constexpr const char* kProgram = "kvtape-hdf5";

std::string folder_of_this_program() {
  std::array<char, PATH_MAX> name{};
  const ssize_t length = readlink("/proc/self/exe", name.data(), name.size());
  if (length <= 0) return ".";
  const std::string path(name.data(), static_cast<std::size_t>(length));
  return path.substr(0, path.rfind('/'));
}

// An installed program, one in a folder that was moved, one in a build folder.
std::vector<std::string> places() {
  if (const char* folder = std::getenv("KVTAPE_LIBEXEC"))
    return {std::string(folder) + "/" + kProgram};
  const std::string here = folder_of_this_program();
  std::vector<std::string> found;
  for (const std::string& folder :
       {here, here + "/../hdf5", here + "/../libexec/kvtape",
        std::string(KVTAPE_LIBEXEC_DIR)})
    found.push_back(folder + "/" + kProgram);
  return found;
}

std::string program() {
  const std::vector<std::string> candidates = places();
  for (const std::string& path : candidates)
    if (access(path.c_str(), X_OK) == 0) return path;
  throw Error({.text = fmt::format("HDF5 needs {}, and there is no {}",
                                   kProgram, candidates.back()),
               .hint = "install kvtape whole, or name the folder that has it: "
                       "KVTAPE_LIBEXEC=FOLDER"});
}

// Descriptors of a process that is started: what it is given as 0 to 2, and
// nothing else that this process has open.
class FileActions {
 public:
  // Both must be above 2: the targets would replace them.
  FileActions(int input, int socket) {
    posix_spawn_file_actions_init(&actions_);
    if (input < 0)
      posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null",
                                       O_RDONLY, 0);
    else
      posix_spawn_file_actions_adddup2(&actions_, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, socket, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, "/dev/null",
                                     O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1);
  }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;

  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// Closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return number_; }

  /// A copy beside the standard streams, also where those are closed.
  static int above_streams(int number) {
    return fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  }

 private:
  int number_;
};

[[noreturn]] void fail_start(int error) {
  throw Error({.text = fmt::format("{} cannot be started: {}", kProgram,
                                   std::generic_category().message(error))});
}

}  // namespace

Hdf5Process::Hdf5Process(const InputFile* input) {
  start(input);
  try {
    const std::vector<std::byte> payload = receive(Hdf5Reply::kHello);
    WireReader in(payload);
    hello_ = get_hello(in);
    if (hello_.kvtape_version != kVersion)
      throw Error({.text = fmt::format("{} is of version {}, not {}", kProgram,
                                       hello_.kvtape_version, kVersion),
                   .hint = "install kvtape whole"});
  } catch (...) {
    end();
    throw;
  }
}

void Hdf5Process::start(const InputFile* input) {
  const std::string path = program();
  std::array<int, 2> sockets{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0)
    fail_start(errno);
  socket_ = sockets[0];
  const Descriptor other(sockets[1]);
  const Descriptor given(Descriptor::above_streams(sockets[1]));
  const Descriptor file(
      input == nullptr ? -1 : Descriptor::above_streams(input->descriptor()));
  // Without one of them the process would get another file, or our output.
  const bool lacks = given.get() < 0 || (input != nullptr && file.get() < 0);
  const int missing = lacks ? errno : 0;
  const FileActions actions(file.get(), given.get());
  std::string name = kProgram;
  std::array<char*, 2> arguments{name.data(), nullptr};
  std::array<char*, 1> environment{nullptr};
  const int error =
      missing != 0 ? missing
                   : posix_spawn(&process_, path.c_str(), actions.get(),
                                 nullptr, arguments.data(), environment.data());
  if (error != 0) {
    process_ = -1;
    ::close(socket_);
    fail_start(error);
  }
  channel_ = Channel(socket_);
}

Hdf5Process::~Hdf5Process() { end(); }

int Hdf5Process::end() {
  int status = 0;
  if (process_ < 0) return status;
  ::close(socket_);
  kill(process_, SIGKILL);
  while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  process_ = -1;
  return status;
}

Error Hdf5Process::cause_of_death() {
  // It has closed the socket, so it should end by itself, and say how.
  constexpr int kMilliseconds = 1000;
  int status = 0;
  for (int i = 0; i < kMilliseconds; ++i) {
    if (waitpid(process_, &status, WNOHANG) != 0) {
      process_ = -1;
      ::close(socket_);
      break;
    }
    usleep(1000);
  }
  if (process_ >= 0) status = end();
  if (WIFSIGNALED(status))
    return Error(
        {.text = fmt::format(
             "{} died (signal {}, {}): the file is corrupt or hostile",
             kProgram, WTERMSIG(status), strsignal(WTERMSIG(status)))});
  return Error({.text = fmt::format("{} ended with status {}", kProgram,
                                    WEXITSTATUS(status)),
                .hint = "it may have had too little memory to start"});
}

// Nothing that comes later would be an answer to what is asked later.
void Hdf5Process::check_alive() const {
  if (death_) throw *death_;
  if (is_lost_)
    throw Error({.text = fmt::format("{}: an answer was lost, as memory lacked",
                                     kProgram)});
}

void Hdf5Process::send(Hdf5Request request, const WireWriter& payload) {
  check_alive();
  channel_.send(static_cast<std::uint8_t>(request), payload);
}

Message Hdf5Process::receive() {
  check_alive();
  std::optional<Message> message;
  try {
    is_lost_ = true;  // unless all of it can be kept
    message = channel_.receive(kPatience);
    is_lost_ = false;
  } catch (const Error& error) {
    death_ = error;
    throw;
  }
  if (!message) throw death_.emplace(cause_of_death());
  if (message->kind == static_cast<std::uint8_t>(Hdf5Reply::kError)) {
    WireReader in(message->payload);
    throw Error(get_error(in));
  }
  return std::move(*message);
}

std::vector<std::byte> Hdf5Process::receive(Hdf5Reply expected) {
  Message message = receive();
  if (message.kind != static_cast<std::uint8_t>(expected))
    throw Error({.text = fmt::format("{} answered something else: the file is "
                                     "corrupt or hostile",
                                     kProgram)});
  return std::move(message.payload);
}

}  // namespace kvtape
