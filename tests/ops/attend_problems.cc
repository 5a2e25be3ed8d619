#include "ops/attend_problems.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/dispatch.h"
#include "kernels/quantized.h"
#include "systems/element.h"
#include "systems/slab_copy.h"

namespace kvtape::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

std::array<std::int64_t, 3> strides_of(const Stored& s) {
  switch (s.memory) {
    case Memory::kPositionHeadDim:
      return {s.heads * s.dims, s.dims, 1};
    case Memory::kHeadPositionDim:
      return {s.dims, s.slots * s.dims, 1};
    case Memory::kDimHeadPosition:
      return {1, s.slots, s.slots * s.heads};
    case Memory::kSpread:
      return {(s.dims * 3 + 1) * s.heads + 2, s.dims * 3 + 1, 3};
  }
  return {};
}

std::int64_t offset_of(const Stored& s, std::int64_t slot, std::int64_t head,
                       std::int64_t dim) {
  const auto strides = strides_of(s);
  return slot * strides[0] + head * strides[1] + dim * strides[2];
}

std::int64_t pick(Random& random, std::initializer_list<std::int64_t> from) {
  return from.begin()[random.below(static_cast<std::int64_t>(from.size()))];
}

std::int64_t random_dim(Random& random, std::int64_t limit) {
  const std::int64_t dim = random.chance(50)
                               ? pick(random, {64, 80, 128, 256, 8, 96})
                               : 1 + random.below(limit);
  return std::min(dim, limit);
}

Stored random_stored(Random& random, std::int64_t slots, std::int64_t heads,
                     std::int64_t dims) {
  std::vector<double> numbers(static_cast<std::size_t>(slots * heads * dims));
  for (double& x : numbers) x = random.normal();
  Stored s{.dtype = static_cast<DType>(random.below(4)),  // f64 f32 f16 bf16
           .memory = static_cast<Memory>(random.below(4)),
           .slots = slots,
           .heads = heads,
           .dims = dims,
           .numbers = std::move(numbers)};
  s.codes = s.dtype != DType::kF64 && random.chance(20);
  return stored(std::move(s));
}

std::vector<std::uint8_t> random_mask(Random& random, std::int64_t slots) {
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(slots));
  const int live = static_cast<int>(pick(random, {10, 50, 90, 100}));
  for (std::uint8_t& seen : mask)
    seen = static_cast<std::uint8_t>(random.chance(live) ? 1 + random.below(3)
                                                         : 0);
  if (random.chance(30)) {
    const std::int64_t from = random.below(slots);
    const std::int64_t to = from + random.below(slots - from + 1);
    std::fill(mask.begin() + from, mask.begin() + to, std::uint8_t{0});
  }
  return mask;
}

void random_tokens(Random& random, std::int64_t count, std::int64_t slots,
                   Owned& owned) {
  const bool causal = random.chance(50);
  const std::int64_t starts = random.chance(30) ? random.below(slots) : 0;
  const bool masked = random.chance(40);
  owned.masks.resize(static_cast<std::size_t>(count));
  for (std::int64_t token = 0; token < count; ++token) {
    VisibleSlots seen{.first = starts, .last = slots};
    if (causal) seen.last = slots - (count - 1 - token);
    if (random.chance(5)) seen.last = random.below(slots + 1);
    if (random.chance(20)) seen.first = seen.last - random.below(slots + 1);
    if (random.chance(3)) seen.last = seen.first;
    auto& mask = owned.masks[static_cast<std::size_t>(token)];
    if (masked) mask = random_mask(random, slots);
    if (masked) seen.mask = mask.data();
    owned.tokens.push_back(seen);
  }
}

bool sees(const VisibleSlots& token, std::int64_t slot) {
  return slot >= token.first && slot < token.last &&
         (token.mask == nullptr || token.mask[slot] != 0);
}

bool is_blind(const VisibleSlots& token, std::int64_t slots) {
  for (std::int64_t slot = 0; slot < slots; ++slot)
    if (sees(token, slot)) return false;
  return true;
}

// Puts NaN and Inf into slots that no token sees, and now and then into one
// that some see and some do not.
void poison(Random& random, bool values_too, Owned& owned) {
  for (std::int64_t slot = 0; slot < owned.problem.slots; ++slot) {
    const bool seen =
        std::any_of(owned.tokens.begin(), owned.tokens.end(),
                    [&](const auto& token) { return sees(token, slot); });
    if (seen ? random.below(1000) != 0 : random.chance(30)) continue;
    for (Stored* s : {&owned.key, &owned.value}) {
      if (s == &owned.value && !values_too) continue;
      const double bad = pick(random, {0, 1}) == 0 ? std::nan("") : -kInf;
      const std::int64_t row = s->heads * s->dims;
      const std::int64_t at = slot * row + random.below(row);
      s->numbers[static_cast<std::size_t>(at)] = bad;
    }
  }
  owned.key = stored(owned.key);
  owned.value = stored(owned.value);
}

Attention random_attention(Random& random, std::int64_t query_heads,
                           std::int64_t key_dim) {
  Attention attention{.query_heads = query_heads};
  const double scale = 1 / std::sqrt(static_cast<double>(key_dim));
  attention.softmax_scale = scale * static_cast<double>(1 + random.below(4));
  if (random.chance(25))
    attention.logit_softcap = static_cast<double>(1 + random.below(30));
  attention.head_map = random.chance(30) ? HeadMap::kTile : HeadMap::kRepeat;
  attention.masked_rows = static_cast<MaskedRows>(random.below(3));
  return attention;
}

// One row's weights, not yet divided by their sum.
std::vector<double> weights64(const AttendProblem& problem,
                              const VisibleSlots& token, const Stored& key,
                              const float* query, std::int64_t head) {
  const double cap = problem.attention.logit_softcap;
  std::vector<double> scores(static_cast<std::size_t>(key.slots), -kInf);
  for (std::int64_t slot = 0; slot < key.slots; ++slot) {
    if (!sees(token, slot)) continue;
    double dot = 0;
    for (std::int64_t dim = 0; dim < key.dims; ++dim)
      dot += static_cast<double>(query[dim]) * key.at(slot, head, dim);
    dot *= problem.attention.softmax_scale;
    scores[static_cast<std::size_t>(slot)] =
        cap == 0 ? dot : cap * std::tanh(dot / cap);
  }
  const double max = *std::max_element(scores.begin(), scores.end());
  for (double& x : scores) x = x == -kInf ? 0 : std::exp(x - max);
  return scores;
}

void row64(const AttendProblem& problem, std::int64_t token,
           std::int64_t query_head, const Stored& key, const Stored& value,
           double* out) {
  const VisibleSlots& seen = problem.tokens[static_cast<std::size_t>(token)];
  const auto read = [&](std::int64_t heads) {
    return problem.attention.head_map == HeadMap::kTile
               ? query_head % heads
               : query_head * heads / problem.attention.query_heads;
  };
  const bool blind = is_blind(seen, problem.slots);
  const MaskedRows masked = problem.attention.masked_rows;
  std::vector<double> weights(static_cast<std::size_t>(problem.slots), 1.0);
  if (!blind)
    weights = weights64(
        problem, seen, key,
        problem.query +
            (token * problem.attention.query_heads + query_head) * key.dims,
        read(key.heads));
  double sum = 0;
  for (double weight : weights) sum += weight;
  for (std::int64_t dim = 0; dim < value.dims; ++dim) {
    double total = 0;
    for (std::int64_t slot = 0; slot < value.slots; ++slot)
      if (weights[static_cast<std::size_t>(slot)] != 0)
        total += weights[static_cast<std::size_t>(slot)] *
                 value.at(slot, read(value.heads), dim);
    out[dim] = total / sum;
    if (blind && masked == MaskedRows::kZeros) out[dim] = 0;
    if (blind && masked == MaskedRows::kNaN) out[dim] = std::nan("");
  }
}

}  // namespace

std::uint64_t Random::bits() {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return state_ * 0x2545f4914f6cdd1dULL;
}

std::int64_t Random::below(std::int64_t bound) {
  return static_cast<std::int64_t>(
      (bits() >> 32) * static_cast<std::uint64_t>(bound) >> 32);
}

double Random::normal() {
  // The sum of four uniform numbers, from one draw.
  const std::uint64_t draw = bits();
  double sum = -2;
  for (int part = 0; part < 4; ++part)
    sum += static_cast<double>(draw >> (16 * part) & 0xffff) / 65536.0;
  return sum * std::sqrt(3.0);
}

double Stored::at(std::int64_t slot, std::int64_t head,
                  std::int64_t dim) const {
  return numbers[static_cast<std::size_t>((slot * heads + head) * dims + dim)];
}

SlabView Stored::slab(std::int64_t first, std::int64_t count) const {
  const auto strides = strides_of(*this);
  SlabView view{.data = bytes.data() + 1,
                .dtype = dtype,
                .shape = {slots, heads, dims},
                .strides = strides};
  if (codes) {
    view.scales = scales.data() + 1;
    view.scale_strides = {heads, 1};
  }
  return cut(view, first, count);
}

Stored stored(Stored s) {
  // All numbers at once, then element by element to where they lie.
  const std::int64_t count = std::ssize(s.numbers);
  const std::int64_t rows = count / s.dims;
  const kernels::Element element = element_of(s.dtype);
  const auto size =
      static_cast<std::size_t>(s.codes ? 1 : bytes_per_element(s.dtype));
  std::vector<std::byte> packed(s.numbers.size() * 8);
  std::vector<float> rounded(s.numbers.size());
  kernels::active().narrow_f64(s.numbers.data(), count, element, packed.data());
  kernels::active().widen(packed.data(), element, 1, count, rounded.data());
  if (s.codes) {
    s.scales.resize(static_cast<std::size_t>(rows * 4 + 1));
    auto* codes = reinterpret_cast<std::int8_t*>(packed.data());
    kernels::quantize_int8(rounded.data(), element, rows, s.dims, codes,
                           s.scales.data() + 1);
    kernels::dequantize_int8(codes, s.scales.data() + 1, element, rows, s.dims,
                             rounded.data());
  }
  s.numbers.assign(rounded.begin(), rounded.end());
  const std::int64_t extent =
      offset_of(s, s.slots - 1, s.heads - 1, s.dims - 1) + 1;
  s.bytes.assign(static_cast<std::size_t>(extent) * size + 1, std::byte{});
  const std::byte* from = packed.data();
  const auto step = static_cast<std::size_t>(strides_of(s)[2]) * size;
  for (std::int64_t slot = 0; slot < s.slots; ++slot)
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const auto at = static_cast<std::size_t>(offset_of(s, slot, head, 0));
      std::byte* to = s.bytes.data() + 1 + at * size;
      for (std::int64_t dim = 0; dim < s.dims; ++dim, from += size, to += step)
        std::memcpy(to, from, size);
    }
  return s;
}

void make_problem(std::uint64_t seed, const Limits& limits, Owned& owned) {
  Random random(seed);
  const std::int64_t slots = 1 + random.below(limits.slots);
  const std::int64_t tokens =
      1 + random.below(random.chance(50) ? 1 : limits.tokens);
  const std::int64_t base = 1 + random.below(3);
  const std::int64_t group = 1 + random.below(random.chance(80) ? 4 : 8);
  const std::int64_t query_heads = base * group;
  const std::int64_t value_heads =
      random.chance(70) ? base : pick(random, {1, query_heads});
  owned.key =
      random_stored(random, slots, base, random_dim(random, limits.dims));
  owned.value =
      random_stored(random, slots, value_heads,
                    random.chance(50) ? std::min(owned.key.dims, limits.dims)
                                      : random_dim(random, limits.dims));
  owned.query.resize(
      static_cast<std::size_t>(tokens * query_heads * owned.key.dims));
  for (float& x : owned.query) x = static_cast<float>(random.normal());
  random_tokens(random, tokens, slots, owned);
  owned.problem = {
      .slots = slots,
      .attention = random_attention(random, query_heads, owned.key.dims),
      .key_heads = base,
      .value_heads = value_heads,
      .key_dim = owned.key.dims,
      .value_dim = owned.value.dims,
      .query = owned.query.data(),
      .tokens = owned.tokens};
  const bool uniform =
      owned.problem.attention.masked_rows == MaskedRows::kUniform;
  const bool blind =
      std::any_of(owned.tokens.begin(), owned.tokens.end(),
                  [&](const auto& token) { return is_blind(token, slots); });
  if (limits.poison && random.chance(40))
    poison(random, !(uniform && blind), owned);
  for (std::int64_t at = 0; at < slots; at += kernels::kSpan) {
    const std::int64_t count = std::min(kernels::kSpan, slots - at);
    owned.pages.push_back({.key = owned.key.slab(at, count),
                           .value = owned.value.slab(at, count)});
  }
  owned.problem.pages = owned.pages;
}

std::string describe(const Owned& owned) {
  const AttendProblem& p = owned.problem;
  std::string text;
  const auto add = [&](const char* what, auto value) {
    text += what + std::to_string(value) + " ";
  };
  add("slots ", p.slots);
  add("tokens ", p.tokens.size());
  add("query heads ", p.attention.query_heads);
  add("key heads ", p.key_heads);
  add("value heads ", p.value_heads);
  add("key dim ", p.key_dim);
  add("value dim ", p.value_dim);
  add("cap ", p.attention.logit_softcap);
  add("mask ", owned.tokens[0].mask != nullptr);
  add("key memory ", static_cast<int>(owned.key.memory));
  add("value memory ", static_cast<int>(owned.value.memory));
  add("key codes ", owned.key.codes);
  add("value codes ", owned.value.codes);
  return text + "key " + std::string(name(owned.key.dtype)) + " value " +
         std::string(name(owned.value.dtype));
}

std::vector<double> attend64(const AttendProblem& problem, const Stored& key,
                             const Stored& value) {
  const auto tokens = static_cast<std::int64_t>(problem.tokens.size());
  const std::int64_t heads = problem.attention.query_heads;
  std::vector<double> out(
      static_cast<std::size_t>(tokens * heads * value.dims));
  for (std::int64_t token = 0; token < tokens; ++token)
    for (std::int64_t head = 0; head < heads; ++head)
      row64(problem, token, head, key, value,
            out.data() + (token * heads + head) * value.dims);
  return out;
}

std::vector<float> attended(const AttendProblem& problem,
                            const kernels::Kernels& kernels, ThreadPool& pool) {
  std::vector<float> out(static_cast<std::size_t>(
      static_cast<std::int64_t>(problem.tokens.size()) *
      problem.attention.query_heads * problem.value_dim));
  AttendProblem copy = problem;
  copy.output = out.data();
  attend(copy, kernels, pool);
  return out;
}

}  // namespace kvtape::test
