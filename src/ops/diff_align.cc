#include "ops/diff_align.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "ops/integer_rows.h"
#include "ops/tensor_sources.h"
#include "ops/validate_findings.h"

namespace kvtape {
namespace {

std::vector<std::int64_t> token_row(const Tape& tape, std::int64_t row) {
  const auto& tokens = tape.cache.tokens;
  if (!tokens || is_float(tokens->dtype) ||
      !has_axis(*tokens, AxisKind::kPosition) ||
      row >= extent(*tokens, AxisKind::kBatch))
    return {};
  return integer_row(tokens, row);
}

class Builder {
 public:
  void pair(const FilledSlot& expected, const FilledSlot& actual) {
    if (!result_.runs.empty()) {
      SlotRun& run = result_.runs.back();
      if (expected.slot == run.expected + run.count &&
          actual.slot == run.actual + run.count &&
          expected.position == run.position + run.count) {
        ++run.count;
        return;
      }
    }
    result_.runs.push_back({.expected = expected.slot,
                            .actual = actual.slot,
                            .position = expected.position,
                            .count = 1});
  }
  void only_expected(const FilledSlot& slot) {
    result_.expected_only.push_back(slot);
  }
  void only_actual(const FilledSlot& slot) {
    result_.actual_only.push_back(slot);
  }
  Alignment take() { return std::move(result_); }

 private:
  Alignment result_;
};

Alignment by_position(const std::vector<FilledSlot>& expected,
                      const std::vector<FilledSlot>& actual) {
  Builder builder;
  auto e = expected.begin();
  auto a = actual.begin();
  while (e != expected.end() || a != actual.end()) {
    if (a == actual.end() || (e != expected.end() && e->position < a->position))
      builder.only_expected(*e++);
    else if (e == expected.end() || a->position < e->position)
      builder.only_actual(*a++);
    else
      builder.pair(*e++, *a++);
  }
  return builder.take();
}

// Number i of the expected ones meets number i + shift of the actual ones.
Alignment by_number(const std::vector<FilledSlot>& expected,
                    const std::vector<FilledSlot>& actual, std::int64_t shift,
                    bool same_tokens) {
  Builder builder;
  const std::int64_t end =
      std::max(std::ssize(expected), std::ssize(actual) - shift);
  for (std::int64_t i = std::min<std::int64_t>(0, -shift); i < end; ++i) {
    const bool has_e = i >= 0 && i < std::ssize(expected);
    const bool has_a = i + shift >= 0 && i + shift < std::ssize(actual);
    const auto at = static_cast<std::size_t>(i);
    const auto other = static_cast<std::size_t>(i + shift);
    if (has_e && has_a &&
        (!same_tokens || expected[at].token == actual[other].token)) {
      builder.pair(expected[at], actual[other]);
      continue;
    }
    if (has_e) builder.only_expected(expected[at]);
    if (has_a) builder.only_actual(actual[other]);
  }
  return builder.take();
}

// All runs of a sequence of tokens, as a suffix automaton (Blumer et al. 1985).
class Suffixes {
 public:
  explicit Suffixes(const std::vector<FilledSlot>& slots) {
    for (std::int64_t i = 0; i < std::ssize(slots); ++i)
      add(slots[static_cast<std::size_t>(i)].token, i);
  }

  struct Match {
    std::int64_t length = 0;
    std::int64_t end = 0;    // number of the last token here
    std::int64_t other = 0;  // there
  };

  // The longest run that `slots` share, the first of these.
  Match longest(const std::vector<FilledSlot>& slots) const {
    Match best;
    std::size_t state = 0;
    std::int64_t length = 0;
    for (std::int64_t i = 0; i < std::ssize(slots); ++i) {
      const std::int64_t token = slots[static_cast<std::size_t>(i)].token;
      while (state != 0 && !states_[state].next.contains(token)) {
        state = *states_[state].link;
        length = states_[state].length;
      }
      const auto next = states_[state].next.find(token);
      if (next == states_[state].next.end()) continue;
      state = next->second;
      if (++length > best.length)
        best = {.length = length, .end = states_[state].end, .other = i};
    }
    return best;
  }

 private:
  struct State {
    std::map<std::int64_t, std::size_t> next;
    std::optional<std::size_t> link;
    std::int64_t length = 0;
    std::int64_t end = 0;  // where its run ends first
  };

  void add(std::int64_t token, std::int64_t at) {
    const std::size_t added = states_.size();
    states_.push_back({.length = states_[last_].length + 1, .end = at});
    std::optional<std::size_t> state = last_;
    last_ = added;
    for (; state && !states_[*state].next.contains(token);
         state = states_[*state].link)
      states_[*state].next[token] = added;
    states_[added].link = state ? split(*state, token) : 0;
  }

  // The state of the runs that follow `state` by the token and are one longer.
  std::size_t split(std::size_t state, std::int64_t token) {
    const std::size_t next = states_[state].next.at(token);
    if (states_[next].length == states_[state].length + 1) return next;
    const std::size_t copy = states_.size();
    states_.push_back(states_[next]);
    states_[copy].length = states_[state].length + 1;
    states_[next].link = copy;
    for (std::optional<std::size_t> s = state;
         s && states_[*s].next[token] == next; s = states_[*s].link)
      states_[*s].next[token] = copy;
    return copy;
  }

  std::vector<State> states_{State{}};
  std::size_t last_ = 0;
};

bool has_tokens(const std::vector<FilledSlot>& slots) {
  return std::all_of(slots.begin(), slots.end(),
                     [](const FilledSlot& slot) { return slot.token >= 0; });
}

}  // namespace

std::vector<FilledSlot> filled_slots(const Tape& tape, const LayerCache& layer,
                                     std::int64_t row, bool dead) {
  const SlotRange all{
      .row = row, .first = 0, .count = extents_of(*either(layer)).position};
  const auto uses = uses_of(tape, layer, RowMarks(layer), all);
  const auto tokens = token_row(tape, row);
  std::vector<FilledSlot> result;
  for (std::int64_t slot = 0; slot < all.count; ++slot) {
    const auto at = static_cast<std::size_t>(slot);
    const SlotUse& use = uses[at];
    if (!dead && use.slot_class != SlotClass::kLive) continue;
    result.push_back({.position = dead ? slot : use.position,
                      .slot = slot,
                      .token = at < tokens.size() ? tokens[at] : -1});
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const FilledSlot& a, const FilledSlot& b) {
                     return a.position < b.position;
                   });
  return result;
}

std::vector<FilledSlot> filled_slots(
    const Tape& tape, const LayerCache& layer, std::int64_t row, bool dead,
    const std::optional<IndexRange>& position) {
  std::vector<FilledSlot> slots = filled_slots(tape, layer, row, dead);
  if (!position || slots.empty()) return slots;
  const Interval kept =
      resolved(position, slots.back().position + 1, "position");
  std::erase_if(slots, [&](const FilledSlot& slot) {
    return slot.position < kept.first || slot.position >= kept.last;
  });
  return slots;
}

std::string unreadable(const Tensor& tensor) {
  if (!has_usable_axes(tensor)) return "its axes are not those of a cache";
  if (!is_float(tensor.dtype))
    return fmt::format("its dtype is {}", name(tensor.dtype));
  if (!tensor.source || !tensor.source->has_values()) return "it has no values";
  if (tensor.quantized() && !is_sound(tensor.quantization, tensor))
    return "its codes and scales do not fit its shape";
  return {};
}

Tensor as_floats(Tensor tensor) {
  if (!tensor.quantized()) return tensor;
  tensor.source = dequantized_source(tensor);
  tensor.quantization = {};
  return tensor;
}

Alignment align(const std::vector<FilledSlot>& expected,
                const std::vector<FilledSlot>& actual, DiffAlign how) {
  switch (how) {
    case DiffAlign::kPosition:
      return by_position(expected, actual);
    case DiffAlign::kStart:
      return by_number(expected, actual, 0, false);
    case DiffAlign::kEnd:
      return by_number(expected, actual,
                       std::ssize(actual) - std::ssize(expected), false);
    case DiffAlign::kTokens:
      break;
  }
  if (!has_tokens(expected) || !has_tokens(actual))
    return {.expected_only = expected, .actual_only = actual};
  const Suffixes::Match match = Suffixes(expected).longest(actual);
  return by_number(expected, actual, match.other - match.end, true);
}

}  // namespace kvtape
