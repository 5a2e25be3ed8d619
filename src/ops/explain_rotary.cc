// Causes by which keys are turned by other angles than they should.
#include "ops/explain_rotary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/elementary.h"
#include "kernels/rotary.h"

namespace kvtape::causes {
namespace {

// Systems compute angles in f32, with an error that grows with the position.
constexpr double kAngleError = 0x1p-22;
constexpr std::size_t kTriedTokens = 12;
constexpr std::int64_t kMostShift = 2048;
// Fitted parameters of rows and layers; more would take too long.
constexpr std::size_t kMostGroups = 64;

/// One embedding.
struct Turn {
  RotaryStyle style = RotaryStyle::kHalf;
  std::vector<double> frequencies;  // [dims/2]
  double factor = 1;
};

Turn turn_of(const Rotary& rotary) {
  return {.style = rotary.style,
          .frequencies =
              rotary.inv_freq.empty()
                  ? kernels::inverse_frequencies(rotary.theta, rotary.dims)
                  : rotary.inv_freq,
          .factor = rotary.attention_factor};
}

/// Turns by `times` the angle of the position, and that of `shift` more.
struct Step {
  Turn turn;
  double times = 0;
  double shift = 0;
};

// A pair is two dimensions that turn together.
std::pair<std::size_t, std::size_t> pair_at(const Turn& turn,
                                            std::size_t pair) {
  if (turn.style == RotaryStyle::kHalf)
    return {pair, pair + turn.frequencies.size()};
  return {2 * pair, 2 * pair + 1};
}

void apply(const Step& step, double position, std::vector<double>& vector) {
  if (2 * step.turn.frequencies.size() > vector.size()) return;
  const double factor = step.times == 0  ? 1
                        : step.times > 0 ? step.turn.factor
                                         : 1 / step.turn.factor;
  for (std::size_t pair = 0; pair < step.turn.frequencies.size(); ++pair) {
    const auto [first, second] = pair_at(step.turn, pair);
    const auto angle = kernels::sin_cos((step.times * position + step.shift) *
                                        step.turn.frequencies[pair]);
    const double a = vector[first];
    const double b = vector[second];
    vector[first] = factor * (a * angle.cosine - b * angle.sine);
    vector[second] = factor * (b * angle.cosine + a * angle.sine);
  }
}

/// What a token's number for the embedding is.
enum class Base { kPosition, kRank };
constexpr auto kBases = std::to_array<Base>({Base::kPosition, Base::kRank});

double place_of(Caches& caches, const Token& token, Base base) {
  if (base == Base::kPosition) return static_cast<double>(token.position);
  return static_cast<double>(
      caches.row(token.layer, token.row).expected.rank(token.position));
}

Predict turned(std::vector<Step> steps, Base base) {
  return [steps = std::move(steps), base](Caches& caches, const Token& token,
                                          std::vector<double>& out) {
    if (!copy_vector(caches.expected_vector(token), out)) return false;
    if (token.kind == TensorKind::kValue) return true;
    for (const Step& step : steps)
      apply(step, place_of(caches, token, base), out);
    return true;
  };
}

Rotary rotary_of(const Tape& tape, const Token& token, std::int64_t dims) {
  const auto layer = tape.cache.layers.find(token.layer);
  if (layer == tape.cache.layers.end())
    return resolved(tape.cache.rotary, dims);
  return resolved(merged(layer->second.rotary, tape.cache.rotary), dims);
}

bool is_usable(const Rotary& rotary, std::int64_t dims) {
  return rotary.style != RotaryStyle::kNone && rotary.dims >= 2 &&
         rotary.dims % 2 == 0 && rotary.dims <= dims &&
         (rotary.inv_freq.empty() ||
          std::ssize(rotary.inv_freq) == rotary.dims / 2);
}

const char* style_text(RotaryStyle style) {
  return style == RotaryStyle::kHalf ? "half" : "interleaved";
}

RotaryStyle other(RotaryStyle style) {
  return style == RotaryStyle::kHalf ? RotaryStyle::kInterleaved
                                     : RotaryStyle::kHalf;
}

/// All hypotheses for one embedding that the expected keys may have.
class Proposer {
 public:
  Proposer(Caches& caches, const Samples& samples, Rotary rotary,
           std::vector<Candidate>& candidates)
      : caches_(caches),
        rotary_(std::move(rotary)),
        turn_(turn_of(rotary_)),
        candidates_(candidates) {
    for (const Token& token : samples.fit)
      if (token.kind == TensorKind::kKey) keys_.push_back(token);
    few_ = spread(keys_, kTriedTokens);
    dims_ = caches.dims(keys_.front());
  }

  void run() {
    for (const Base base : kBases) {
      if (rotary_.keys_rotated)
        for_rotated(base);
      else
        for_plain(base);
    }
    propose_shift([](const Token&) { return std::vector<std::int64_t>(); });
    propose_shift([](const Token& token) {
      return std::vector<std::int64_t>{token.row};
    });
    propose_shift([](const Token& token) {
      return std::vector<std::int64_t>{token.layer};
    });
    propose_shift([](const Token& token) {
      return std::vector<std::int64_t>{token.layer, token.row};
    });
  }

 private:
  void add(const char* cause, std::string detail, std::vector<Step> steps,
           Base base) {
    double turns = 0;
    for (const Step& step : steps) turns += std::abs(step.times);
    candidates_.push_back({.cause = cause,
                           .detail = std::move(detail),
                           .error_per_position = kAngleError * turns,
                           .predict = turned(std::move(steps), base)});
  }

  void for_rotated(Base base) {
    add("rotary-missing", "keys are not rotated", {{turn_, -1}}, base);
    add("rotary-twice", "keys are rotated twice", {{turn_, 1}}, base);
    add("rotary-backwards", "keys are rotated backwards", {{turn_, -2}}, base);
    Turn style = turn_;
    style.style = other(turn_.style);
    add("rotary-style",
        fmt::format("{} where {} should be", style_text(style.style),
                    style_text(turn_.style)),
        {{turn_, -1}, {style, 1}}, base);
    propose_scale(base);
    propose_dims(base);
    propose_theta(base);
  }

  // Keys that should not be rotated yet.
  void for_plain(Base base) {
    add("rotary-applied", "keys are rotated, and should not be", {{turn_, 1}},
        base);
    Turn style = turn_;
    style.style = other(turn_.style);
    add("rotary-applied",
        fmt::format("keys are rotated ({}), and should not be",
                    style_text(style.style)),
        {{style, 1}}, base);
    add("rotary-applied", "keys are rotated backwards, and should not be",
        {{turn_, -1}}, base);
  }

  Turn with(double theta, std::int64_t dims) const {
    Rotary changed = rotary_;
    changed.inv_freq.clear();
    changed.theta = theta;
    changed.dims = dims;
    return turn_of(changed);
  }

  // Positions that were stretched or not, frequencies that were scaled or not.
  void propose_scale(Base base) {
    for (const double times : {3.0, 4.0, 8.0, 16.0, 32.0, 1.0 / 2, 1.0 / 3,
                               1.0 / 4, 1.0 / 8, 1.0 / 16, 1.0 / 32})
      add("rotary-scale", fmt::format("angles {:.4g} times as large", times),
          {{turn_, -1}, {turn_, times}}, base);
    if (!rotary_.inv_freq.empty())
      add("rotary-scale",
          fmt::format("frequencies of theta {:g}, not scaled", rotary_.theta),
          {{turn_, -1}, {with(rotary_.theta, rotary_.dims), 1}}, base);
    const Rotary actual = rotary_of(caches_.actual(), keys_.front(), dims_);
    if (!actual.inv_freq.empty() && actual.inv_freq != rotary_.inv_freq &&
        is_usable(actual, dims_))
      add("rotary-scale", "frequencies that only the actual cache has",
          {{turn_, -1}, {turn_of(actual), 1}}, base);
  }

  // The best one of the thetas that models use, and others like these.
  void propose_theta(Base base) {
    std::vector<double> thetas{
        rotary_of(caches_.actual(), keys_.front(), dims_).theta};
    for (double power = 10; power < 2e8; power *= 10)
      for (const double digits :
           {1.0, 1.5, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0})
        thetas.push_back(power * digits);
    double least = std::numeric_limits<double>::infinity();
    double best = 0;
    for (const double theta : thetas) {
      if (theta == rotary_.theta && rotary_.inv_freq.empty()) continue;
      const double error =
          error_of({{turn_, -1}, {with(theta, rotary_.dims), 1}}, base);
      if (error < least) best = theta;
      least = std::min(least, error);
    }
    if (best == 0) return;
    add("rotary-theta", fmt::format("theta {:g} for {:g}", best, rotary_.theta),
        {{turn_, -1}, {with(best, rotary_.dims), 1}}, base);
  }

  void propose_dims(Base base) {
    for (const std::int64_t dims : {dims_, dims_ / 2, dims_ / 4})
      if (dims != rotary_.dims && dims >= 2 && dims % 2 == 0)
        add("rotary-dims",
            fmt::format("{} dims rotated, not {}", dims, rotary_.dims),
            {{turn_, -1}, {with(rotary_.theta, dims), 1}}, base);
  }

  // RMS over some tokens.
  double error_of(std::vector<Step> steps, Base base) {
    const Predict predict = turned(std::move(steps), base);
    std::vector<double> predicted;
    double sum = 0;
    for (const Token& token : few_) {
      caches_.trim();
      if (!predict(caches_, token, predicted)) continue;
      const double error =
          relative_error(predicted, caches_.actual_vector(token));
      sum += error * error;
    }
    return std::isfinite(sum) ? sum : std::numeric_limits<double>::max();
  }

  // ---- shifts

  using KeyOf = std::vector<std::int64_t> (*)(const Token&);
  using Shifts = std::map<std::vector<std::int64_t>, std::int64_t>;

  // The same distance for all tokens with the same key.
  void propose_shift(KeyOf key) {
    std::map<std::vector<std::int64_t>, std::vector<Token>> groups;
    for (const Token& token : keys_) groups[key(token)].push_back(token);
    if (groups.size() > kMostGroups) return;
    Shifts shifts;
    for (const auto& [of, tokens] : groups) shifts[of] = best_shift(tokens);
    candidates_.push_back({.cause = "rotary-shift",
                           .detail = shifts_text(shifts),
                           .parameters = std::ssize(shifts),
                           .error_per_position = 2 * kAngleError,
                           .predict = shifted(shifts, key)});
  }

  static std::string shifts_text(const Shifts& shifts) {
    const auto [least, most] = std::minmax_element(
        shifts.begin(), shifts.end(),
        [](const auto& a, const auto& b) { return a.second < b.second; });
    if (least->second == most->second)
      return fmt::format("keys are rotated {:+} positions further",
                         least->second);
    return fmt::format("keys are rotated {:+} to {:+} positions further",
                       least->second, most->second);
  }

  Predict shifted(Shifts shifts, KeyOf key) const {
    return [shifts = std::move(shifts), key, turn = turn_](
               Caches& caches, const Token& token, std::vector<double>& out) {
      if (!copy_vector(caches.expected_vector(token), out)) return false;
      const auto shift = shifts.find(key(token));
      if (token.kind == TensorKind::kKey && shift != shifts.end())
        apply({turn, 0, static_cast<double>(shift->second)}, 0, out);
      return true;
    };
  }

  // The one under which expected and actual pairs point the same way: the
  // largest real part of sum(conj(expected) actual e^(-i shift frequency)).
  std::int64_t best_shift(const std::vector<Token>& tokens) {
    std::vector<double> real(turn_.frequencies.size());
    std::vector<double> imaginary(turn_.frequencies.size());
    for (const Token& token : tokens) add_pairs(token, real, imaginary);
    std::int64_t best = 1;
    double most = std::numeric_limits<double>::lowest();
    const kernels::SinCos* angle = angles().data();
    for (std::int64_t shift = 1; shift <= kMostShift; ++shift) {
      double even = 0;  // the same for the shift and its opposite
      double odd = 0;
      for (std::size_t pair = 0; pair < real.size(); ++pair, ++angle) {
        even += real[pair] * angle->cosine;
        odd += imaginary[pair] * angle->sine;
      }
      if (even + std::abs(odd) > most + 1e-12 * std::abs(most)) {
        most = even + std::abs(odd);
        best = odd < 0 ? -shift : shift;
      }
    }
    return best;
  }

  // [shift - 1, pair]
  const std::vector<kernels::SinCos>& angles() {
    if (!angles_.empty()) return angles_;
    for (std::int64_t shift = 1; shift <= kMostShift; ++shift)
      for (const double frequency : turn_.frequencies)
        angles_.push_back(
            kernels::sin_cos(static_cast<double>(shift) * frequency));
    return angles_;
  }

  void add_pairs(const Token& token, std::vector<double>& real,
                 std::vector<double>& imaginary) {
    caches_.trim();
    const auto expected = caches_.expected_vector(token);
    const auto actual = caches_.actual_vector(token);
    for (std::size_t pair = 0; pair < real.size(); ++pair) {
      const auto [first, second] = pair_at(turn_, pair);
      const double here_real =
          expected[first] * actual[first] + expected[second] * actual[second];
      const double here_imaginary =
          expected[first] * actual[second] - expected[second] * actual[first];
      if (!std::isfinite(here_real) || !std::isfinite(here_imaginary)) continue;
      real[pair] += here_real;
      imaginary[pair] += here_imaginary;
    }
  }

  Caches& caches_;
  Rotary rotary_;
  Turn turn_;
  std::vector<Candidate>& candidates_;
  std::vector<Token> keys_;
  std::vector<Token> few_;
  std::int64_t dims_ = 0;
  std::vector<kernels::SinCos> angles_;
};

}  // namespace

std::vector<std::int64_t> turned_dims(Caches& caches, const Token& token) {
  const std::int64_t dims = caches.dims(token);
  std::vector<std::int64_t> all{dims};
  const Rotary rotary = rotary_of(caches.expected(), token, dims);
  if (is_usable(rotary, dims) && rotary.dims != dims)
    all.push_back(rotary.dims);
  return all;
}

void propose_rotary(Caches& caches, const Samples& samples,
                    std::vector<Candidate>& candidates) {
  const bool values_differ = std::any_of(
      samples.fit.begin(), samples.fit.end(),
      [](const Token& token) { return token.kind == TensorKind::kValue; });
  if (values_differ) return;
  const Token& first = samples.fit.front();
  const std::int64_t dims = caches.dims(first);
  for (const Tape* tape : {&caches.expected(), &caches.actual()}) {
    const Rotary rotary = rotary_of(*tape, first, dims);
    if (!is_usable(rotary, dims)) continue;
    Proposer(caches, samples, rotary, candidates).run();
    return;
  }
  // Nobody says how keys were rotated: the usual ways.
  if (dims < 2 || dims % 2 != 0) return;
  for (const RotaryStyle style :
       {RotaryStyle::kHalf, RotaryStyle::kInterleaved})
    Proposer(caches, samples, {.style = style, .dims = dims}, candidates).run();
}

}  // namespace kvtape::causes
