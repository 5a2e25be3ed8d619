#include "torch_peer.h"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

extern char** environ;

namespace kvtape::bench {

TorchPeer::TorchPeer(const std::string& script) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (pipe(in.data()) != 0 || pipe(out.data()) != 0)
    throw std::runtime_error("no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  for (int end : {in[0], in[1], out[0], out[1]})
    posix_spawn_file_actions_addclose(&actions, end);
  std::string python = "/usr/bin/python3";
  std::string path = script;
  std::array<char*, 3> arguments{python.data(), path.data(), nullptr};
  const int error = posix_spawn(&process_, python.c_str(), &actions, nullptr,
                                arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  to_ = fdopen(in[1], "w");
  from_ = fdopen(out[0], "r");
  if (error == 0) version_ = ask("version");
}

TorchPeer::~TorchPeer() {
  std::fclose(to_);
  std::fclose(from_);
  if (process_ > 0) waitpid(process_, nullptr, 0);
}

std::string TorchPeer::ask(const std::string& line) {
  std::fputs((line + "\n").c_str(), to_);
  std::fflush(to_);
  std::array<char, 256> answer{};
  if (std::fgets(answer.data(), answer.size(), from_) == nullptr) return "";
  std::string text = answer.data();
  text.erase(text.find_last_not_of("\n") + 1);
  return text;
}

void TorchPeer::prepare(const Shape& shape, int threads) {
  ask(fmt::format("prepare {} {} {} {} {}", shape.heads,
                  shape.group() * shape.tokens, shape.slots, shape.dim,
                  threads));
}

double TorchPeer::seconds() { return std::stod(ask("run")); }

}  // namespace kvtape::bench
