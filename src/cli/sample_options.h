// The options of `kvtape sample`, one for each field of SampleOptions.
#pragma once

#include <optional>
#include <string>

#include "cli/arguments.h"
#include "kvtape/sample.h"

namespace kvtape::cli {

struct SampleCommand {
  std::string out;
  SampleOptions sample;
  std::optional<std::int64_t> head_dim;  // of keys and values
  std::optional<std::int64_t> key_dim;
  std::optional<std::int64_t> value_dim;
  std::int64_t seed = 0;
  std::string flaw;
  bool no_trace = false;
  bool no_final = false;
  bool compress = false;
  bool force = false;
  Common common;
};

/// The options as the library takes them.
SampleOptions sample_options(const SampleCommand& command);

void declare_options(CLI::App& app, SampleCommand& command);

}  // namespace kvtape::cli
