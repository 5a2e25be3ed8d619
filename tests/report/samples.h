// Tapes and reports that are made up, for the tests of their texts.
#pragma once

#include <string>

#include "kvtape/diff.h"
#include "kvtape/replay.h"
#include "kvtape/replay_operations.h"
#include "kvtape/stats.h"
#include "report/convert.h"
#include "report/info.h"
#include "report/validation.h"

namespace kvtape::samples {

/// Two layers of which the second differs, a trace, extras, a finding.
NamedTape tape();

/// `layers` equal layers and nothing else.
NamedTape plain_tape(int layers);

NamedValidation unsound();
NamedValidation sound();

/// Errors that grow from 1e-6; the first failure at `failing_step` (none if
/// negative).
ReplayReport replay(int layers, int steps, int failing_step);

/// All that can be wrong with a replay at once.
ReplayReport troubled_replay();

/// HDF5 to HDF5, nothing lost; and everything lost that can be.
ConvertReport conversion();
ConvertReport lossy_conversion();
/// One of every outcome.
OperationsReport troubled_operations();

/// Layers with eight heads; one head goes wrong in the middle layer and stays
/// so in those after it. None where there are fewer than two layers.
DiffReport difference(int layers);
/// Everything that a diff can say at once.
DiffReport troubled_difference();

/// Rows with and without everything that can be absent.
StatsReport statistics();

/// A name with an escape sequence, a mark of direction and an invalid byte.
std::string hostile_name();

}  // namespace kvtape::samples
