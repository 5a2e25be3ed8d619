// Causes by which numbers are multiplied: by a constant, by -1 in some
// dimensions, by the scale of a quantization.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/explain_match.h"

namespace kvtape::causes {
namespace {

constexpr double kLeastFactor = 1e-6;

using KeyOf = MoveKey (*)(const Token&);

MoveKey of_kind(const Token& token) { return {std::int64_t(token.kind)}; }
MoveKey of_tensor(const Token& token) {
  return {std::int64_t(token.kind), token.layer};
}
MoveKey of_head(const Token& token) {
  return {std::int64_t(token.kind), token.layer, token.head};
}
constexpr auto kLevels = std::to_array<KeyOf>({of_kind, of_tensor, of_head});

/// Sums over the tokens of a key.
struct Sums {
  std::vector<double> products;  // [dim] expected * actual
  std::vector<double> squares;   // [dim] expected^2
};

std::map<MoveKey, Sums> sums_of(Caches& caches,
                                const std::vector<Token>& tokens, KeyOf key) {
  std::map<MoveKey, Sums> all;
  for (const Token& token : tokens) {
    caches.trim();
    const auto expected = caches.expected_vector(token);
    const auto actual = caches.actual_vector(token);
    Sums& sums = all[key(token)];
    sums.products.resize(std::max(sums.products.size(), expected.size()));
    sums.squares.resize(sums.products.size());
    for (std::size_t dim = 0; dim < expected.size(); ++dim) {
      if (!std::isfinite(expected[dim]) || !std::isfinite(actual[dim]))
        continue;
      sums.products[dim] += expected[dim] * actual[dim];
      sums.squares[dim] += expected[dim] * expected[dim];
    }
  }
  return all;
}

// A factor for each dimension of each key.
using Factors = std::map<MoveKey, std::vector<double>>;

Predict multiplied(Factors factors, KeyOf key) {
  return [factors = std::move(factors), key](Caches& caches, const Token& token,
                                             std::vector<double>& out) {
    if (!copy_vector(caches.expected_vector(token), out)) return false;
    const auto found = factors.find(key(token));
    if (found == factors.end()) return true;
    for (std::size_t dim = 0; dim < out.size(); ++dim)
      out[dim] *= found->second[std::min(dim, found->second.size() - 1)];
    return true;
  };
}

// ---- one factor

double total(const std::vector<double>& numbers) {
  double sum = 0;
  for (const double number : numbers) sum += number;
  return sum;
}

bool is_near(double a, double b) {
  return std::abs(a - b) <= 1e-3 * std::abs(b);
}

// What the factor may come from, or nothing.
std::string meaning(double factor, double scale, double dims) {
  struct Known {
    double value;
    const char* text;
  };
  const auto known = std::to_array<Known>({
      {scale, ", the softmax scale"},
      {1 / scale, ", 1 / the softmax scale"},
      {scale * scale, ", the softmax scale twice"},
      {std::sqrt(scale), ", the root of the softmax scale"},
      {1 / std::sqrt(scale), ", 1 / the root of the softmax scale"},
      {1 / std::sqrt(dims), ", dim^-0.5"},
      {std::sqrt(dims), ", dim^0.5"},
      {127, ", the largest 8-bit code"},
      {1.0 / 127, ", 1 / the largest 8-bit code"},
  });
  for (const Known& each : known)
    if (is_near(factor, each.value)) return each.text;
  return {};
}

double softmax_scale(Caches& caches, const Token& token) {
  const Cache& cache = caches.expected().cache;
  return resolved(
             merged(cache.layers.at(token.layer).attention, cache.attention),
             caches.heads(token), caches.dims(token))
      .softmax_scale;
}

std::string factors_text(const Factors& factors, double scale, double dims) {
  double least = factors.begin()->second.front();
  double most = least;
  for (const auto& [key, factor] : factors) {
    least = std::min(least, factor.front());
    most = std::max(most, factor.front());
  }
  if (is_near(least, most))
    return fmt::format("times {:.4g}{}", most, meaning(most, scale, dims));
  return fmt::format("times {:.4g} to {:.4g}, {} factors", least, most,
                     factors.size());
}

void propose_constant(Caches& caches, const Samples& samples, KeyOf key,
                      std::vector<Candidate>& candidates) {
  Factors factors;
  for (const auto& [of, sums] : sums_of(caches, samples.fit, key)) {
    const double squares = total(sums.squares);
    const double products = total(sums.products);
    // Next to nothing is no factor: these are zeros.
    if (std::abs(products) <= kLeastFactor * squares) return;
    factors[of] = {products / squares};
  }
  const bool negated = std::all_of(
      factors.begin(), factors.end(),
      [](const auto& factor) { return is_near(factor.second.front(), -1); });
  const Token& first = samples.fit.front();
  candidates.push_back(
      {.cause = negated ? "sign-flip" : "constant-factor",
       .detail = factors_text(factors, softmax_scale(caches, first),
                              static_cast<double>(caches.dims(first))),
       .parameters = std::ssize(factors),
       .tokens_per_parameter = 2,
       .predict = multiplied(std::move(factors), key)});
}

// ---- signs

std::string signs_text(const std::vector<double>& signs) {
  std::vector<std::size_t> dims;
  for (std::size_t dim = 0; dim < signs.size(); ++dim)
    if (signs[dim] < 0) dims.push_back(dim);
  if (dims.empty()) return "no dims";
  const bool together = dims.back() - dims.front() + 1 == dims.size();
  return fmt::format("{} of {} dims, {} {}..{}", dims.size(), signs.size(),
                     together ? "those from" : "between", dims.front(),
                     dims.back());
}

void propose_signs(Caches& caches, const Samples& samples, KeyOf key,
                   std::vector<Candidate>& candidates) {
  Factors factors;
  std::string text;
  for (const auto& [of, sums] : sums_of(caches, samples.fit, key)) {
    std::vector<double>& signs = factors[of];
    for (const double product : sums.products)
      signs.push_back(product < 0 ? -1 : 1);
    if (text.empty()) text = signs_text(signs);
  }
  candidates.push_back({.cause = "sign-flip",
                        .detail = text,
                        .parameters = std::ssize(factors),
                        .tokens_per_parameter = 2,
                        .predict = multiplied(std::move(factors), key)});
}

// ---- scales of a quantization

// Whole numbers of 8 bits, the largest of which is near the end of these.
bool are_codes(std::span<const double> numbers) {
  double most = 0;
  for (const double number : numbers) {
    if (number != std::nearbyint(number)) return false;
    most = std::max(most, std::abs(number));
  }
  return most >= 120 && most <= 128;
}

// The vector of whole numbers of which the largest is that of the actual one:
// codes whose scale, one for each vector, was left out; or the reverse.
bool without_scale(Caches& caches, const Token& token,
                   std::vector<double>& out) {
  const auto expected = caches.expected_vector(token);
  const auto actual = caches.actual_vector(token);
  if (!copy_vector(expected, out)) return false;
  if (are_codes(actual) == are_codes(expected)) return true;
  double products = 0;
  double squares = 0;
  for (std::size_t dim = 0; dim < out.size(); ++dim) {
    products += expected[dim] * actual[dim];
    squares += expected[dim] * expected[dim];
  }
  for (double& number : out) number *= squares == 0 ? 0 : products / squares;
  return true;
}

}  // namespace

void propose_factors(Caches& caches, const Samples& samples,
                     std::vector<Candidate>& candidates) {
  for (const KeyOf key : kLevels)
    propose_constant(caches, samples, key, candidates);
  for (const KeyOf key : kLevels)
    propose_signs(caches, samples, key, candidates);
  candidates.push_back(
      {.cause = "quantization-scale",
       .detail = "8-bit codes without their scales on one side",
       .tokens_per_parameter = 2,
       .predict = without_scale});
}

}  // namespace kvtape::causes
