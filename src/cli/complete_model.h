// What a shell needs to know to complete a command line.
#pragma once

#include <string>
#include <vector>

namespace kvtape::cli {

struct CompletionOption {
  std::vector<std::string> names;  // "-q", "--quiet"
  std::string help;
  bool takes_value = false;
  bool takes_file = false;
  std::vector<std::string> words;  // the values, where they are a few words
};

struct CompletionCommand {
  std::string name;
  std::string summary;
  std::vector<CompletionOption> options;
};

struct CompletionModel {
  CompletionCommand root;
  std::vector<CompletionCommand> commands;
};

std::string bash_completions(const CompletionModel& model);
std::string zsh_completions(const CompletionModel& model);
std::string fish_completions(const CompletionModel& model);

/// The words with blanks between.
std::string spaced(const std::vector<std::string>& words);

}  // namespace kvtape::cli
