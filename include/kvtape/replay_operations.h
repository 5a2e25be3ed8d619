// Is a dumped cache what the operations of its log give?
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvtape/mode.h"
#include "kvtape/replay.h"
#include "kvtape/tape.h"

namespace kvtape {

/// What became of one operation.
struct OperationOutcome {
  enum class Status : std::uint8_t {
    kEqual,        // all that was recorded is what it gave
    kNotRecorded,  // it was done; nothing was recorded to compare with
    kDiffers,      // `compared` says where
    kRefused,      // checked mode: the system would go wrong without a word
    kFailed,       // it cannot be done
    kNotFailed,    // it was done, but the record says that it failed
    kNotRun,       // one before it was refused or failed
  };
  std::int64_t number = 0;  // of /trace/operations
  std::string operation;    // "insert"; "?" where it is not known
  std::optional<std::int64_t> layer;
  Status status = Status::kNotRun;
  /// What was recorded, each tensor against that of the replay; objects are
  /// "/trace/operations/3/result/layers/0/key".
  std::vector<FinalComparison> compared;
  std::string message;  // why it was refused or failed
};

struct OperationsReport {
  Mode mode = Mode::kChecked;
  std::vector<OperationOutcome> operations;  // in the order of the log
  std::optional<std::size_t> broken;         // the first that went wrong
  /// The recorded final cache against the replayed one.
  std::vector<FinalComparison> final_state;
  Cache cache;  // after the last operation that was done

  /// All done, everything recorded equal, and something was recorded.
  bool success() const;
};

struct OperationsOptions {
  Mode mode = Mode::kChecked;
  Progress progress;
};

/// Does the operations of the tape's log on its cache. One that fails though
/// the record does not say so, or is refused, ends the replay; one whose
/// outcome differs does not. The final state is compared where the trace has no
/// layers of its own. Throws Error when there is no log, or its tensors
/// contradict themselves.
OperationsReport replay_operations(const Tape& tape,
                                   const OperationsOptions& options = {});

}  // namespace kvtape
