// Tries all hypotheses on differing tokens, and names one where it alone
// explains them.
#include "ops/explain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "ops/explain_causes.h"

namespace kvtape {
namespace causes {
namespace {

constexpr auto kFamilies = std::to_array<Family>({
    {"slots", propose_slots},
    {"axes", propose_axes},
    {"order", propose_order},
    {"factors", propose_factors},
    {"dtypes", propose_dtypes},
    {"rotary", propose_rotary},
});

// What a hypothesis leaves must be so much smaller than what it began with,
// and than what the next one leaves.
constexpr double kClear = 4;
// Tokens on which a hypothesis is tried before all others are.
constexpr std::size_t kTried = 64;
// A hypothesis may leave tokens open, but not most of them.
constexpr double kLeastCovered = 0.5;

/// How a candidate does on a sample.
struct Score {
  std::vector<double> errors;  // of the tokens it says something about
  std::vector<double> before;  // |actual - expected| of these
  std::int64_t tokens = 0;
  double worst_share = 0;  // of what the limit allows
  double bits = 0;         // of evidence, roughly

  double covered() const {
    return tokens == 0 ? 0
                       : static_cast<double>(errors.size()) /
                             static_cast<double>(tokens);
  }
};

double rms(const std::vector<double>& errors) {
  double sum = 0;
  for (const double error : errors) sum += error * error;
  return errors.empty() ? 0
                        : std::sqrt(sum / static_cast<double>(errors.size()));
}

double worst(const std::vector<double>& errors) {
  return errors.empty() ? std::numeric_limits<double>::infinity()
                        : *std::max_element(errors.begin(), errors.end());
}

double median(std::vector<double> errors) {
  if (errors.empty()) return std::numeric_limits<double>::infinity();
  const auto middle = errors.begin() + std::ssize(errors) / 2;
  std::nth_element(errors.begin(), middle, errors.end());
  return *middle;
}

// Bits by which an agreement of so many numbers up to the limit surprises;
// half of them, as the numbers of a vector are not independent.
double evidence_bits(std::int64_t dims, double limit) {
  double bits = 0;
  for (double left = limit; left < 1 && bits < 24; left *= 2) ++bits;
  return bits * static_cast<double>(dims) / 2;
}

Score score(Caches& caches, const Candidate& candidate,
            const std::vector<Token>& tokens) {
  Score result{.tokens = std::ssize(tokens)};
  std::vector<double> predicted;
  for (const Token& token : tokens) {
    caches.trim();
    if (!candidate.predict(caches, token, predicted)) continue;
    caches.store(token, predicted);
    const auto actual = caches.actual_vector(token);
    const double error = relative_error(predicted, actual);
    const double allowed =
        caches.limit() +
        candidate.error_per_position * static_cast<double>(token.position);
    result.errors.push_back(error);
    result.before.push_back(
        relative_error(caches.expected_vector(token), actual));
    result.worst_share = std::max(result.worst_share, error / allowed);
    result.bits += evidence_bits(std::ssize(actual), caches.limit());
  }
  return result;
}

bool fits(const Score& score) {
  return score.worst_share <= 1 &&
         kClear * rms(score.errors) <= rms(score.before);
}

// Whether there are enough numbers for what was fitted.
bool is_supported(const Candidate& candidate, const Score& score) {
  return score.bits >= 16 + 12 * static_cast<double>(candidate.parameters) &&
         std::ssize(score.errors) >=
             candidate.parameters * candidate.tokens_per_parameter;
}

struct Trial {
  Candidate candidate;
  Score score;
  bool passed = false;
};

Trial try_out(Caches& caches, Candidate candidate, const Samples& samples) {
  const auto few = spread(samples.fit, kTried);
  Trial trial{.candidate = std::move(candidate)};
  trial.score = score(caches, trial.candidate, few);
  if (trial.score.worst_share > 1 || trial.score.errors.empty()) return trial;
  if (few.size() < samples.fit.size())
    trial.score = score(caches, trial.candidate, samples.fit);
  if (!fits(trial.score) || !is_supported(trial.candidate, trial.score))
    return trial;
  const Score check = score(caches, trial.candidate, samples.check);
  Score& both = trial.score;
  both.errors.insert(both.errors.end(), check.errors.begin(),
                     check.errors.end());
  both.before.insert(both.before.end(), check.before.begin(),
                     check.before.end());
  both.tokens += check.tokens;
  both.worst_share = std::max(both.worst_share, check.worst_share);
  trial.passed = fits(both) && both.covered() >= kLeastCovered;
  return trial;
}

// Better ones first; equal ones stay in the order of the families.
bool better(const Trial& a, const Trial& b, double close) {
  if (a.passed != b.passed) return a.passed;
  if (!a.passed) return median(a.score.errors) < median(b.score.errors);
  const bool a_close = rms(a.score.errors) <= close;
  const bool b_close = rms(b.score.errors) <= close;
  if (a_close != b_close) return a_close;
  if (a.score.covered() != b.score.covered())
    return a.score.covered() > b.score.covered();
  return a.candidate.parameters < b.candidate.parameters;
}

Evidence evidence_of(const Trial& trial) {
  return {.cause = trial.candidate.cause,
          .detail = trial.candidate.detail,
          .median = median(trial.score.errors),
          .worst = worst(trial.score.errors)};
}

class Judge {
 public:
  Judge(Caches& caches, const Samples& samples)
      : caches_(caches), samples_(samples) {}

  Explanation run() {
    for (const Family& family : kFamilies) propose(family);
    rank();
    Explanation result{.limit = caches_.limit()};
    for (const Trial& trial : trials_) {
      const auto known = std::find_if(
          result.evidence.begin(), result.evidence.end(),
          [&](const Evidence& e) { return e.cause == trial.candidate.cause; });
      if (known == result.evidence.end())
        result.evidence.push_back(evidence_of(trial));
    }
    if (!trials_.empty() && trials_.front().passed) decide(result);
    return result;
  }

 private:
  void propose(const Family& family) {
    std::vector<Candidate> candidates;
    family.propose(caches_, samples_, candidates);
    for (Candidate& candidate : candidates)
      trials_.push_back(try_out(caches_, std::move(candidate), samples_));
  }

  void rank() {
    double best = std::numeric_limits<double>::infinity();
    for (const Trial& trial : trials_)
      if (trial.passed) best = std::min(best, rms(trial.score.errors));
    close_ = std::max(kClear * best, caches_.limit() / 16);
    std::stable_sort(trials_.begin(), trials_.end(),
                     [this](const Trial& a, const Trial& b) {
                       return better(a, b, close_);
                     });
  }

  // The first one is named, unless another cause comes near it and says
  // something else.
  void decide(Explanation& result) {
    Evidence& first = result.evidence.front();
    result.found = true;
    const double clear = kClear * rms(trials_.front().score.errors);
    for (const Trial& trial : trials_) {
      const std::string& cause = trial.candidate.cause;
      if (cause == first.cause ||
          std::count(first.same_as.begin(), first.same_as.end(), cause) > 0)
        continue;
      if (trial.passed && rms(trial.score.errors) <= close_) {
        if (says_the_same(trial)) first.same_as.push_back(cause);
      } else if (!trial.passed && trial.score.worst_share > 1 &&
                 rms(trial.score.errors) <= std::min(clear, caches_.limit())) {
        result.found = false;
      }
    }
    if (!first.same_as.empty())
      first.same_as.insert(first.same_as.begin(), first.cause);
    first.detail += "; in " + where_text(all_tokens());
  }

  std::vector<Token> all_tokens() const {
    std::vector<Token> all = samples_.fit;
    all.insert(all.end(), samples_.check.begin(), samples_.check.end());
    return all;
  }

  // Whether it explains as many tokens as the first one, and so gives the
  // same numbers. One that leaves more tokens open is the weaker one.
  bool says_the_same(const Trial& trial) const {
    return trial.score.errors.size() == trials_.front().score.errors.size();
  }

  Caches& caches_;
  const Samples& samples_;
  std::vector<Trial> trials_;
  double close_ = 0;  // errors up to this are as good as the least ones
};

}  // namespace

bool copy_vector(std::span<const double> from, std::vector<double>& to) {
  to.assign(from.begin(), from.end());
  return !from.empty();
}

std::vector<Token> spread(const std::vector<Token>& tokens, std::size_t most) {
  if (tokens.size() <= most) return tokens;
  std::vector<Token> some;
  for (std::size_t i = 0; i < most; ++i)
    some.push_back(tokens[i * tokens.size() / most]);
  return some;
}

}  // namespace causes

ExplainScope explain_scope(const DiffReport& report,
                           const DiffOptions& options) {
  ExplainScope scope{.dead = options.dead, .align = options.align};
  for (const DiffCell& cell : report.cells) {
    const bool differs = cell.stats.token_error > cell.rounding_limit ||
                         cell.stats.non_finite_mismatched > 0;
    if (!differs) continue;
    scope.limit = std::max(scope.limit, cell.rounding_limit);
    if (scope.differing.empty() || scope.differing.back().layer != cell.layer ||
        scope.differing.back().kind != cell.kind)
      scope.differing.push_back({.layer = cell.layer, .kind = cell.kind});
  }
  for (DifferingPart& part : scope.differing)
    for (const DiffBand& band : report.bands)
      if (band.layer == part.layer && band.kind == part.kind &&
          band.stats.differing + band.stats.non_finite_mismatched > 0)
        part.positions.push_back({band.first, band.last});
  return scope;
}

Explanation explain(const Tape& expected, const Tape& actual,
                    const ExplainScope& scope) {
  causes::Caches caches(expected, actual, scope);
  const causes::Samples samples = causes::take_samples(caches, scope);
  if (samples.fit.empty()) return {.limit = scope.limit};
  return causes::Judge(caches, samples).run();
}

}  // namespace kvtape
