// Every tensor of a tape with its place and its part in it.
#pragma once

#include <string>
#include <vector>

#include "kvtape/tape.h"

namespace kvtape {

enum class TensorRole : std::uint8_t {
  kKey,     // [batch, position or token, key_head, key_dim]
  kValue,   // [batch, position or token, value_head, value_dim]
  kQuery,   // [batch, token, query_head, key_dim]
  kOutput,  // [batch, token, query_head, value_dim]
  kRows,    // [batch]
  kSlots,   // [batch, position]
  kTokens,  // [batch, token]
  kMask,    // [batch, token, position]
  kSteps,   // [steps]
};

struct TapeTensor {
  std::string path;
  TensorRole role = TensorRole::kKey;
  std::optional<std::int64_t> layer;
  bool stored = true;  // of the cache or the final state, not of the trace
  std::optional<Tensor>* tensor = nullptr;  // holds one
};

/// In the order of the format. The tape must outlive the result, unchanged in
/// its layers.
std::vector<TapeTensor> tensors_of(Tape& tape);

/// Those of floats, or of codes that stand for them: keys, values, queries and
/// outputs.
std::vector<TapeTensor> float_tensors(Tape& tape);

}  // namespace kvtape
