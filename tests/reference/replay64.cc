#include "reference/replay64.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "reference/problem64.h"
#include "reference/storage64.h"

namespace kvtape::reference {
namespace {

// ---- a step stores its keys and values

// A growing cache takes numbers as they are (its dtype is promoted, which is
// exact), any other rounds them to its own dtype.
Doubles stored(const Problem& p, Doubles numbers, const Tensor& into) {
  if (p.layout == Layout::kGrowing) return numbers;
  for (double& number : numbers) number = rounded(number, into.dtype);
  return numbers;
}

Slot new_slot(const Problem& p, std::int64_t b, Row& row, std::int64_t token,
              std::int64_t position) {
  Slot slot{.key = stored(p, cut(*p.new_key, b, token), *p.layer->key),
            .value = stored(p, cut(*p.new_value, b, token), *p.layer->value),
            .position = position,
            .rotary = 0,
            .masked = masked_token(p, b, token, position)};
  slot.rotary = rotary_position(p, row, slot);
  if (p.positions.has(token)) slot.rotary = p.positions.get(b, token);
  return slot;
}

// The first slot of `count` new ones in a fixed cache: where the system's
// dynamic_update_slice puts it, or nothing if that is not index.
std::optional<std::int64_t> first_slot(const Problem& p, std::int64_t index,
                                       std::int64_t count) {
  if (count > p.extent) return std::nullopt;
  std::int64_t first = index < 0 ? index + p.extent : index;
  first = std::clamp<std::int64_t>(first, 0, p.extent - count);
  if (first != index && !p.faithful) return std::nullopt;
  return first;
}

// Where the tokens of a step stand: their own positions, and for rotary.
struct Standing {
  std::int64_t own = 0;
  std::int64_t rotary = 0;
};

// Stores tokens [first, first + count) of a row; false when it cannot.
bool store(const Problem& p, std::int64_t b, Row& row, std::int64_t first,
           std::int64_t count, std::vector<Standing>& standing) {
  std::int64_t begin = row.index;
  if (p.layout == Layout::kLinear) {
    const auto slot = first_slot(p, row.index, count);
    if (!slot) return false;
    begin = *slot;
  }
  if (p.layout == Layout::kGrowing)
    begin = static_cast<std::int64_t>(row.slots.size());
  for (std::int64_t t = 0; t < count; ++t) {
    const std::int64_t position = begin + t;
    Slot slot = new_slot(p, b, row, first + t, position);
    standing.push_back({.own = position, .rotary = slot.rotary});
    switch (p.layout) {
      case Layout::kLinear:
        row.slots[at(position)] = std::move(slot);
        break;
      case Layout::kRing:
        row.slots[at(position % p.extent)] = std::move(slot);
        break;
      case Layout::kShift:
        if (position < p.extent) {
          row.slots[at(position)] = std::move(slot);
        } else {
          row.slots.erase(row.slots.begin());
          row.slots.push_back(std::move(slot));
        }
        break;
      case Layout::kGrowing:
        row.slots.push_back(std::move(slot));
        break;
    }
  }
  row.index += count;
  return true;
}

// The keys are there already: only says where the tokens stand.
void look_up(const Problem& p, std::int64_t b, Row& row, std::int64_t first,
             std::int64_t count, std::vector<Standing>& standing) {
  for (std::int64_t t = first; t < first + count; ++t) {
    const std::int64_t number = p.start[at(b)] + t;
    const bool by_number =
        p.layout == Layout::kLinear || p.layout == Layout::kGrowing;
    Standing where{.own = number, .rotary = number};
    for (const Slot& slot : row.slots)
      if (slot.position == number) where.rotary = slot.rotary;
    if (by_number && number >= 0 && number < p.extent)
      where = {.own = row.slots[at(number)].position,
               .rotary = row.slots[at(number)].rotary};
    standing.push_back(where);
  }
  row.index = p.start[at(b)] + first + count;
}

// ---- attention of one token

void rotate(const Problem& p, double* vector, std::int64_t position) {
  const std::int64_t pairs = p.rotary.dims / 2;
  for (std::int64_t i = 0; i < pairs; ++i) {
    const double frequency =
        p.rotary.inv_freq.empty()
            ? std::pow(p.rotary.theta, -2.0 * static_cast<double>(i) /
                                           static_cast<double>(p.rotary.dims))
            : p.rotary.inv_freq[at(i)];
    const double angle = static_cast<double>(position) * frequency;
    const double cosine = std::cos(angle) * p.rotary.attention_factor;
    const double sine = std::sin(angle) * p.rotary.attention_factor;
    const bool half = p.rotary.style == RotaryStyle::kHalf;
    double& x = vector[half ? i : 2 * i];
    double& y = vector[half ? i + pairs : 2 * i + 1];
    const double a = x, b = y;
    x = a * cosine - b * sine;
    y = b * cosine + a * sine;
  }
}

bool sees(const Problem& p, const Row& row, std::int64_t b, std::int64_t token,
          std::int64_t own, std::int64_t s) {
  const Slot& slot = row.slots[at(s)];
  switch (p.attention.visibility) {
    case Visibility::kMask:
      return s < p.visible_slots &&
             p.visible.get(b, token * p.visible_slots + s) != 0;
    case Visibility::kRange:
      return slot.position >= 0 && row.starts <= slot.position &&
             slot.position < row.index;
    case Visibility::kCausal:
      break;
  }
  if (slot.position < 0 || slot.masked) return false;
  if (slot.position < row.starts || slot.position > own) return false;
  return p.window == 0 || own - slot.position < p.window;
}

std::int64_t shared_head(HeadMap map, std::int64_t query_head,
                         std::int64_t query_heads, std::int64_t heads) {
  if (map == HeadMap::kTile) return query_head % heads;
  return query_head / (query_heads / heads);
}

double score(const Problem& p, const Doubles& query, const Slot& slot,
             std::int64_t key_head) {
  const auto first = slot.key.begin() + key_head * p.key_dim;
  Doubles key(first, first + p.key_dim);
  if (p.rotary.style != RotaryStyle::kNone && !p.rotary.keys_rotated)
    rotate(p, key.data(), slot.rotary);
  double sum = 0;
  for (std::int64_t d = 0; d < p.key_dim; ++d) sum += query[at(d)] * key[at(d)];
  sum *= p.attention.softmax_scale;
  const double cap = p.attention.logit_softcap;
  return cap > 0 ? cap * std::tanh(sum / cap) : sum;
}

// sum of weights[s] * value of slot s, for the slots that have a weight
Doubles weighted(const Problem& p, const Row& row, std::int64_t value_head,
                 const std::vector<std::pair<std::int64_t, double>>& weights) {
  Doubles result(at(p.value_dim), 0.0);
  for (const auto& [s, weight] : weights)
    for (std::int64_t d = 0; d < p.value_dim; ++d)
      result[at(d)] +=
          weight * row.slots[at(s)].value[at(value_head * p.value_dim + d)];
  return result;
}

Doubles unseeing(const Problem& p, const Row& row, std::int64_t value_head) {
  if (p.attention.masked_rows == MaskedRows::kZeros)
    return Doubles(at(p.value_dim), 0.0);
  if (p.attention.masked_rows == MaskedRows::kNaN)
    return Doubles(at(p.value_dim), std::nan(""));
  std::vector<std::pair<std::int64_t, double>> weights;
  const auto slots = static_cast<std::int64_t>(row.slots.size());
  for (std::int64_t s = 0; s < slots; ++s)
    weights.emplace_back(s, 1.0 / static_cast<double>(slots));
  return weighted(p, row, value_head, weights);
}

Doubles attend(const Problem& p, const Row& row, std::int64_t b,
               std::int64_t token, const Standing& standing, std::int64_t h) {
  const std::int64_t heads = p.attention.query_heads;
  const HeadMap map = p.attention.head_map;
  const std::int64_t key_head = shared_head(map, h, heads, p.key_heads);
  const std::int64_t value_head = shared_head(map, h, heads, p.value_heads);
  const Doubles all = cut(p.query, b, token);
  Doubles query(all.begin() + h * p.key_dim, all.begin() + (h + 1) * p.key_dim);
  if (p.rotary.style != RotaryStyle::kNone && !p.rotary.queries_rotated)
    rotate(p, query.data(), standing.rotary);
  std::vector<std::pair<std::int64_t, double>> weights;
  double most = -HUGE_VAL;
  for (std::int64_t s = 0; s < static_cast<std::int64_t>(row.slots.size());
       ++s) {
    if (!sees(p, row, b, token, standing.own, s)) continue;
    weights.emplace_back(s, score(p, query, row.slots[at(s)], key_head));
    most = std::max(most, weights.back().second);
  }
  if (weights.empty()) return unseeing(p, row, value_head);
  double total = 0;
  for (auto& [s, weight] : weights) total += weight = std::exp(weight - most);
  for (auto& [s, weight] : weights) weight /= total;
  return weighted(p, row, value_head, weights);
}

// ---- a whole layer

void requantize(const Tensor& like, std::vector<Row>& rows, Doubles Slot::*what,
                std::int64_t dim) {
  if (!like.quantized()) return;
  Doubles all;
  for (const Row& row : rows)
    for (const Slot& slot : row.slots)
      all.insert(all.end(), (slot.*what).begin(), (slot.*what).end());
  const Quantization& q = like.quantization;
  const bool int8 = q.scheme == Quantization::Scheme::kInt8;
  all = requantized(all, q.scheme, like.dtype, int8 ? dim : q.block_size);
  auto next = all.begin();
  for (Row& row : rows)
    for (Slot& slot : row.slots)
      for (double& number : slot.*what) number = *next++;
}

// One step; false when a write is refused.
bool step(const Problem& p, std::vector<Row>& rows, std::int64_t first,
          std::int64_t count, Doubles& output) {
  std::vector<Row> working = rows;
  const std::int64_t per_token = p.attention.query_heads * p.value_dim;
  for (std::int64_t b = 0; b < p.rows; ++b) {
    Row& row = working[at(b)];
    std::vector<Standing> standing;
    if (p.in_cache)
      look_up(p, b, row, first, count, standing);
    else if (!store(p, b, row, first, count, standing))
      return false;
    for (std::int64_t t = 0; t < count; ++t)
      for (std::int64_t h = 0; h < p.attention.query_heads; ++h) {
        const Doubles result = attend(p, row, b, first + t, standing[at(t)], h);
        std::copy(result.begin(), result.end(),
                  output.begin() + (b * p.tokens + first + t) * per_token +
                      h * p.value_dim);
      }
  }
  if (p.frozen) return true;
  rows = std::move(working);
  if (p.in_cache) return true;
  requantize(*p.layer->key, rows, &Slot::key, p.key_dim);
  requantize(*p.layer->value, rows, &Slot::value, p.value_dim);
  return true;
}

Layer64 result_of(const Problem& p, const std::vector<Row>& rows,
                  Doubles output) {
  Layer64 result{.rows = p.rows,
                 .tokens = p.tokens,
                 .query_heads = p.attention.query_heads,
                 .value_dim = p.value_dim,
                 .output = std::move(output)};
  for (const Row& row : rows) {
    result.slots = static_cast<std::int64_t>(row.slots.size());
    result.index.push_back(row.index);
    for (const Slot& slot : row.slots) {
      result.key.insert(result.key.end(), slot.key.begin(), slot.key.end());
      result.value.insert(result.value.end(), slot.value.begin(),
                          slot.value.end());
      result.position.push_back(slot.position);
    }
  }
  return result;
}

Layer64 replay_layer(const Problem& p, const Integers& lengths) {
  std::vector<Row> rows = rows_of(p);
  Doubles output(at(p.rows * p.tokens * p.attention.query_heads * p.value_dim));
  std::int64_t first = 0;
  for (std::int64_t count : lengths) {
    if (!step(p, rows, first, count, output))
      return {.refused = "step at token " + std::to_string(first) +
                         " does not fit the cache"};
    first += count;
  }
  return result_of(p, rows, std::move(output));
}

}  // namespace

std::map<std::int64_t, Layer64> replay64(const Tape& tape,
                                         ReplayOptions::Mode mode) {
  const bool faithful = mode == ReplayOptions::Mode::kFaithful;
  const Integers lengths = integers(*tape.trace->step_lengths);
  std::map<std::int64_t, Layer64> result;
  for (const auto& [number, trace] : tape.trace->layers)
    result[number] = replay_layer(problem_of(tape, number, faithful), lengths);
  return result;
}

}  // namespace kvtape::reference
