// Causes by which vectors come from another head, layer, row or kind.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "ops/explain_match.h"
#include "ops/validate_findings.h"

namespace kvtape::causes {
namespace {

std::vector<std::int64_t> up_to(std::int64_t count) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// "layer 1 holds 0, layer 2 holds 1"
std::string moves_text(const char* word, const Moves& moves) {
  constexpr std::size_t kMost = 8;
  std::string text;
  std::size_t told = 0;
  for (const auto& [key, source] : moves) {
    if (++told > kMost) return text + ", ...";
    text += fmt::format("{}{} {} holds {}", told > 1 ? ", " : "", word,
                        key.back(), source);
  }
  return text;
}

// All by the same distance, with or without wrapping round.
std::string distance_text(const Moves& moves, std::int64_t count) {
  std::optional<std::int64_t> distance;
  for (const auto& [key, source] : moves) {
    const std::int64_t here = (key.back() - source + count) % count;
    if (distance && here != *distance) return {};
    distance = here;
  }
  if (!distance || moves.size() < 2 || count < 3) return {};
  if (*distance * 2 > count) *distance -= count;
  return fmt::format("off by {}: ", *distance);
}

void add_moves(const char* cause, const char* word, std::int64_t count,
               const Move& move, Caches& caches, const Samples& samples,
               std::vector<Candidate>& candidates) {
  const Moves moves = find_moves(caches, samples.fit, move);
  if (moves.empty()) return;
  candidates.push_back(
      {.cause = cause,
       .detail = distance_text(moves, count) + moves_text(word, moves),
       .parameters = std::ssize(moves),
       .predict = moved(move, moves)});
}

// ---- heads

Token with_head(Token token, std::int64_t head) {
  token.head = head;
  return token;
}

void propose_heads(Caches& caches, const Samples& samples,
                   std::vector<Candidate>& candidates) {
  const auto sources = [](Caches& of, const Token& token) {
    return up_to(of.heads(token));
  };
  const std::int64_t heads = caches.heads(samples.fit.front());
  if (heads < 2) return;
  add_moves("heads-permuted", "head", heads,
            {.key = [](const Token& token) { return MoveKey{token.head}; },
             .sources = sources,
             .at = with_head},
            caches, samples, candidates);
  add_moves(
      "heads-permuted", "head", heads,
      {.key =
           [](const Token& token) {
             return MoveKey{token.layer, std::int64_t(token.kind), token.head};
           },
       .sources = sources,
       .at = with_head},
      caches, samples, candidates);
}

// Heads stand as [group, member] where [member, group] is expected: repeated
// heads that should be tiled, or the reverse.
void propose_groups(Caches& caches, const Samples& samples,
                    std::vector<Candidate>& candidates) {
  const std::int64_t heads = caches.heads(samples.fit.front());
  for (std::int64_t groups = 2; groups < heads; ++groups) {
    if (heads % groups != 0) continue;
    const std::int64_t members = heads / groups;
    candidates.push_back(
        {.cause = "heads-regrouped",
         .detail = fmt::format("head h holds head (h mod {}) * {} + h div {}",
                               groups, members, groups),
         .parameters = 1,
         .predict = [groups, members, heads](Caches& of, const Token& token,
                                             std::vector<double>& out) {
           if (of.heads(token) != heads) return false;
           return copy_vector(
               of.expected_vector(with_head(
                   token, token.head % groups * members + token.head / groups)),
               out);
         }});
  }
}

// ---- layers

Token with_layer(Token token, std::int64_t layer) {
  token.layer = layer;
  return token;
}

std::vector<std::int64_t> layers_like(Caches& caches, const Token& token) {
  constexpr std::int64_t kNear = 64;
  std::vector<std::int64_t> layers;
  for (const auto& [number, layer] : caches.expected().cache.layers) {
    const Tensor* tensor = caches.tensor(number, token.kind);
    if (number != token.layer && tensor &&
        std::abs(number - token.layer) <= kNear &&
        extents_of(*tensor).dims == caches.dims(token) &&
        extents_of(*tensor).heads == caches.heads(token))
      layers.push_back(number);
  }
  return layers;
}

void propose_layers(Caches& caches, const Samples& samples,
                    std::vector<Candidate>& candidates) {
  const auto& layers = caches.expected().cache.layers;
  add_moves("layers-permuted", "layer", std::ssize(layers),
            {.key = [](const Token& token) { return MoveKey{token.layer}; },
             .sources = layers_like,
             .at = with_layer},
            caches, samples, candidates);
}

// ---- rows

void propose_rows(Caches& caches, const Samples& samples,
                  std::vector<Candidate>& candidates) {
  const Token& first = samples.fit.front();
  const std::int64_t rows =
      extents_of(*caches.tensor(first.layer, first.kind)).batch;
  if (rows < 2) return;
  add_moves("rows-permuted", "row", rows,
            {.key = [](const Token& token) { return MoveKey{token.row}; },
             .sources =
                 [rows](Caches&, const Token& token) {
                   constexpr std::int64_t kNear = 64;
                   std::vector<std::int64_t> others;
                   for (std::int64_t row =
                            std::max<std::int64_t>(0, token.row - kNear);
                        row < std::min(rows, token.row + kNear + 1); ++row)
                     if (row != token.row) others.push_back(row);
                   return others;
                 },
             .at =
                 [](Token token, std::int64_t row) {
                   token.row = row;
                   return token;
                 }},
            caches, samples, candidates);
}

// ---- kinds

void propose_swap(std::vector<Candidate>& candidates) {
  candidates.push_back(
      {.cause = "key-value-swapped",
       .detail = "keys stand as values, values as keys",
       .predict = [](Caches& caches, const Token& token,
                     std::vector<double>& out) {
         Token other = token;
         other.kind = token.kind == TensorKind::kKey ? TensorKind::kValue
                                                     : TensorKind::kKey;
         const Tensor* tensor = caches.tensor(other.layer, other.kind);
         return tensor && extents_of(*tensor).dims == caches.dims(token) &&
                copy_vector(caches.expected_vector(other), out);
       }});
}

}  // namespace

void propose_axes(Caches& caches, const Samples& samples,
                  std::vector<Candidate>& candidates) {
  propose_groups(caches, samples, candidates);
  propose_heads(caches, samples, candidates);
  propose_layers(caches, samples, candidates);
  propose_rows(caches, samples, candidates);
  propose_swap(candidates);
}

}  // namespace kvtape::causes
