// What a decode did, step by step.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "kvtape/operations.h"
#include "kvtape/tensor.h"

namespace kvtape {

/// One layer of a trace; tokens of all steps along one axis.
struct LayerTrace {
  std::optional<Tensor> query;   // [batch, token, query_head, key_dim]
  std::optional<Tensor> key;     // [batch, token, key_head, key_dim]
  std::optional<Tensor> value;   // [batch, token, value_head, value_dim]
  std::optional<Tensor> output;  // [batch, token, query_head, value_dim]
  std::optional<Tensor> attention_mask;  // [batch, token, position]
  std::optional<Tensor> start_index;     // [batch]
};

/// A recorded decode. The output is the per-head attention result before the
/// output projection.
struct Trace {
  /// Where a step's keys are: appended from the trace, or already in the cache.
  enum class KeysIn : std::uint8_t { kTrace, kCache };
  std::optional<KeysIn> keys_in;         // absent: trace
  std::optional<Tensor> step_lengths;    // [steps]: tokens of each step
  std::optional<Tensor> start_index;     // [batch], for keys in the cache
  std::optional<Tensor> attention_mask;  // [batch, token, position]
  std::optional<Tensor> token_mask;      // [batch, token]
  std::optional<Tensor> positions;       // [batch, token], for rotary
  std::map<std::int64_t, LayerTrace> layers;
  OperationLog operations;  // another way to tell what was done
};

/// Whether it is a log of operations, without steps.
bool has_only_operations(const Trace& trace);

}  // namespace kvtape
