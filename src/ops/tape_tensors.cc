// Every tensor of a tape with its place and its part in it.
#include "ops/tape_tensors.h"

#include <algorithm>

namespace kvtape {
namespace {

class Walk {
 public:
  std::vector<TapeTensor> run(Tape& tape) {
    add_layers("/layers/", tape.cache.layers);
    add("/attention_mask", TensorRole::kSlots, tape.cache.attention_mask);
    add("/tokens", TensorRole::kSlots, tape.cache.tokens);
    if (tape.trace) add_trace(*tape.trace);
    stored_ = true;
    if (tape.final_state) {
      add_layers("/final/layers/", tape.final_state->layers);
      add("/final/attention_mask", TensorRole::kSlots,
          tape.final_state->attention_mask);
    }
    return std::move(result_);
  }

 private:
  void add(std::string path, TensorRole role, std::optional<Tensor>& tensor) {
    if (tensor)
      result_.push_back({.path = std::move(path),
                         .role = role,
                         .layer = layer_,
                         .stored = stored_,
                         .tensor = &tensor});
  }

  void add_layers(const std::string& where,
                  std::map<std::int64_t, LayerCache>& layers) {
    for (auto& [number, layer] : layers) {
      const std::string path = where + std::to_string(number);
      layer_ = number;
      add(path + "/key", TensorRole::kKey, layer.key);
      add(path + "/value", TensorRole::kValue, layer.value);
      add(path + "/index", TensorRole::kRows, layer.index);
      add(path + "/starts", TensorRole::kRows, layer.starts);
      add(path + "/slot_position", TensorRole::kSlots, layer.slot_position);
    }
    layer_.reset();
  }

  void add_trace(Trace& trace) {
    stored_ = false;
    add("/trace/step_lengths", TensorRole::kSteps, trace.step_lengths);
    add("/trace/start_index", TensorRole::kRows, trace.start_index);
    add("/trace/attention_mask", TensorRole::kMask, trace.attention_mask);
    add("/trace/token_mask", TensorRole::kTokens, trace.token_mask);
    add("/trace/positions", TensorRole::kTokens, trace.positions);
    for (auto& [number, layer] : trace.layers) {
      const std::string path = "/trace/layers/" + std::to_string(number);
      layer_ = number;
      add(path + "/query", TensorRole::kQuery, layer.query);
      add(path + "/key", TensorRole::kKey, layer.key);
      add(path + "/value", TensorRole::kValue, layer.value);
      add(path + "/output", TensorRole::kOutput, layer.output);
      add(path + "/attention_mask", TensorRole::kMask, layer.attention_mask);
      add(path + "/start_index", TensorRole::kRows, layer.start_index);
    }
    layer_.reset();
  }

  bool stored_ = true;
  std::optional<std::int64_t> layer_;
  std::vector<TapeTensor> result_;
};

}  // namespace

std::vector<TapeTensor> tensors_of(Tape& tape) { return Walk().run(tape); }

std::vector<TapeTensor> float_tensors(Tape& tape) {
  std::vector<TapeTensor> all = tensors_of(tape);
  std::erase_if(all, [](const TapeTensor& named) {
    const bool numbers = named.role <= TensorRole::kOutput;
    return !numbers || !is_float((*named.tensor)->dtype);
  });
  return all;
}

}  // namespace kvtape
