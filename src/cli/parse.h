// From the command line to what it asks for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace kvtape::cli {

/// The program with its commands, and what each would do. The actions are in
/// the order of kCommands. Only commands that the arguments name have options,
/// as all of them would take half of the time of a short run.
struct Program {
  std::unique_ptr<CLI::App> app;
  std::vector<Action> actions;
  bool version = false;
  std::string generate;

  explicit Program(const std::vector<std::string>& arguments);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
};

/// Does what the arguments (without the program's name) ask for. Throws Error
/// when they ask for nothing that exists.
Outcome run_program(std::vector<std::string> arguments);

}  // namespace kvtape::cli
