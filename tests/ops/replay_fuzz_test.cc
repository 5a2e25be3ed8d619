// Tapes with random damage: a replay refuses them or reports on them, and does
// neither crash nor read out of bounds (the sanitizers see to that).
#include <catch2/catch.hpp>
#include <cmath>

#include "hidden_source.h"
#include "kvtape/error.h"
#include "kvtape/replay.h"
#include "random_tape.h"

namespace kvtape {
namespace {

using tests::Numbers;
using tests::random_tape;
using tests::TapeShape;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

template <typename T, std::size_t N>
T one_of(Numbers& numbers, const T (&choices)[N]) {
  return choices[at(numbers.below(std::int64_t{N}))];
}

std::vector<std::optional<Tensor>*> tensors_of(Tape& tape) {
  LayerCache& cache = tape.cache.layers.at(0);
  LayerTrace& trace = tape.trace->layers.at(0);
  tape.final_state.emplace();
  LayerCache& final_layer = tape.final_state->layers[0];
  return {&cache.key,
          &cache.value,
          &cache.index,
          &cache.starts,
          &cache.slot_position,
          &trace.query,
          &trace.key,
          &trace.value,
          &trace.output,
          &trace.attention_mask,
          &trace.start_index,
          &tape.trace->step_lengths,
          &tape.trace->start_index,
          &tape.trace->attention_mask,
          &tape.trace->token_mask,
          &tape.trace->positions,
          &tape.cache.attention_mask,
          &tape.final_state->attention_mask,
          &final_layer.key,
          &final_layer.value,
          &final_layer.index,
          &final_layer.slot_position};
}

Tensor random_ints(Numbers& numbers) {
  constexpr AxisKind kKinds[] = {AxisKind::kBatch, AxisKind::kToken,
                                 AxisKind::kPosition};
  std::vector<Axis> axes = {{AxisKind::kBatch, "batch", 2}};
  std::int64_t count = 2;
  for (std::int64_t rank = numbers.below(3); rank > 0; --rank) {
    constexpr std::int64_t kSizes[] = {0, 1, 3, 5, 12};
    axes.push_back({one_of(numbers, kKinds), "x", one_of(numbers, kSizes)});
    count *= axes.back().size;
  }
  std::vector<std::int64_t> values;
  constexpr std::int64_t kValues[] = {0, 1, 2, 3, 5, 11, 12, -1, 0x7fffffff};
  for (std::int64_t i = 0; i < count; ++i)
    values.push_back(one_of(numbers, kValues));
  return tests::int_tensor(axes, values);
}

void damage_tensor(std::optional<Tensor>& tensor, Numbers& numbers) {
  if (!tensor || tensor->axes.empty()) return;
  Axis& axis = tensor->axes[at(numbers.below(std::ssize(tensor->axes)))];
  constexpr std::int64_t kSizes[] = {0, 1, 2, 7, -3, std::int64_t{1} << 40};
  switch (numbers.below(6)) {
    case 0:
      tensor.reset();
      break;
    case 1:
      axis.size = one_of(numbers, kSizes);
      break;
    case 2:
      axis.kind = AxisKind(numbers.below(6));
      break;
    case 3:
      tensor->dtype = DType(numbers.below(std::ssize(kDTypes)));
      break;
    case 4:
      tensor->axes.pop_back();
      break;
    default:
      *tensor = tests::hidden(*tensor);
  }
}

void damage_spec(Tape& tape, Numbers& numbers) {
  constexpr double kNumbers[] = {0, 1, -1, 1e30, 1e-30, HUGE_VAL};
  constexpr std::int64_t kInts[] = {0, 1, 2, 3, 4, 6, -1, 1 << 20};
  AttentionSpec& attention = tape.cache.attention;
  RotarySpec& rotary = tape.cache.rotary;
  LayerCache& layer = tape.cache.layers.at(0);
  switch (numbers.below(9)) {
    case 0:
      attention.query_heads = one_of(numbers, kInts);
      break;
    case 1:
      attention.softmax_scale = one_of(numbers, kNumbers);
      attention.logit_softcap = one_of(numbers, kNumbers);
      break;
    case 2:
      rotary.theta = one_of(numbers, kNumbers);
      break;
    case 3:
      rotary.dims = one_of(numbers, kInts);
      break;
    case 4:
      rotary.inv_freq = std::vector{one_of(numbers, kNumbers),
                                    one_of(numbers, kNumbers), 1.0};
      break;
    case 5:
      layer.window = one_of(numbers, kInts);
      break;
    case 6:
      layer.frozen = true;
      break;
    case 7:
      tape.trace->keys_in = Trace::KeysIn::kCache;
      break;
    default:
      tape.cache.layers[2];
      tape.trace->layers[1];
  }
}

Tape valid_tape(Numbers& numbers) {
  constexpr DType kFloats[] = {DType::kF64, DType::kF32, DType::kF16,
                               DType::kBF16};
  constexpr const char* kOrders[] = {"bphd", "bdhp", "phbd"};
  TapeShape shape{.dtype = one_of(numbers, kFloats),
                  .trace_dtype = one_of(numbers, kFloats),
                  .layout = Layout(numbers.below(4)),
                  .order = one_of(numbers, kOrders),
                  .seed = static_cast<std::uint64_t>(numbers.below(1000))};
  shape.index = {numbers.below(12), numbers.below(12)};
  Tape tape = random_tape(shape);
  tape.cache.attention.visibility = Visibility(numbers.below(3));
  tape.cache.attention.masked_rows = MaskedRows(numbers.below(3));
  tape.cache.rotary.style = RotaryStyle(numbers.below(3));
  tape.cache.rotary.keys_rotated = numbers.below(2) == 0;
  auto& key = tape.cache.layers.at(0).key;
  if (numbers.below(4) == 0 && shape.order == "bphd" &&
      shape.dtype != DType::kF64)
    key = tests::quantized(*key, Quantization::Scheme(1 + numbers.below(2)), 4);
  return tape;
}

TEST_CASE("damaged tapes are refused or reported on") {
  Numbers numbers(11);
  int refused = 0;
  int replayed = 0;
  for (int round = 0; round < 20000; ++round) {
    CAPTURE(round);
    Tape tape = valid_tape(numbers);
    const auto tensors = tensors_of(tape);
    for (std::int64_t damages = numbers.below(4); damages > 0; --damages) {
      const std::int64_t kind = numbers.below(5);
      auto& tensor = *tensors[at(numbers.below(std::ssize(tensors)))];
      if (kind < 2) damage_tensor(tensor, numbers);
      if (kind == 2) tensor = random_ints(numbers);
      if (kind == 3) damage_spec(tape, numbers);
      if (kind == 4)
        std::swap(tensor, *tensors[at(numbers.below(std::ssize(tensors)))]);
    }
    ReplayOptions options{.keep = numbers.below(2) == 0, .threads = 1};
    if (numbers.below(2) == 0) options.mode = ReplayOptions::Mode::kFaithful;
    try {
      replay(tape, options);
      ++replayed;
    } catch (const Error& error) {
      CHECK_FALSE(error.parts().field.empty());
      ++refused;
    }
  }
  CHECK(refused > 5000);
  CHECK(replayed > 5000);
}

}  // namespace
}  // namespace kvtape
