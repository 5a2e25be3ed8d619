#include "ops/explain_match.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>

namespace kvtape::causes {
namespace {

constexpr std::size_t kTokensOfKey = 6;
constexpr std::int64_t kEnoughVotes = 3;
// Errors below this part of the limit are those of the same vector.
constexpr double kSame = 64;
// So many tokens without any source in a row: there is none.
constexpr std::int64_t kHopeless = 24;

class Finder {
 public:
  Finder(Caches& caches, const Move& move) : caches_(caches), move_(move) {}

  Moves run(const std::vector<Token>& tokens) {
    std::map<MoveKey, std::vector<Token>> groups;
    for (const Token& token : tokens) groups[move_.key(token)].push_back(token);
    Moves moves;
    for (const auto& [key, group] : groups)
      if (const auto source = vote(group)) moves[key] = *source;
    return moves;
  }

 private:
  std::optional<std::int64_t> vote(const std::vector<Token>& group) {
    std::map<std::int64_t, std::int64_t> votes;
    std::optional<std::int64_t> best;
    for (const Token& token : spread(group, kTokensOfKey)) {
      const auto source = source_of(token);
      if (!source) continue;
      if (++votes[*source] > (best ? votes[*best] : 0)) best = source;
      if (votes[*best] == kEnoughVotes) break;
    }
    return best;
  }

  // The source that comes nearest; the first one that is as good as the same.
  std::optional<std::int64_t> source_of(const Token& token) {
    if (failures_ >= kHopeless) return std::nullopt;
    const double same = caches_.limit() / kSame;
    if (last_ && error_of(token, *last_) <= same) return last_;
    std::optional<std::int64_t> best;
    double least = caches_.limit();
    for (const std::int64_t source : move_.sources(caches_, token)) {
      const double error = error_of(token, source);
      if (error > least || (best && error == least)) continue;
      best = source;
      least = error;
      if (error <= same) break;
    }
    if (best) last_ = best;
    failures_ = best ? 0 : failures_ + 1;
    return best;
  }

  double error_of(const Token& token, std::int64_t source) {
    caches_.trim();
    const auto vector = caches_.expected_vector(move_.at(token, source));
    const auto actual = caches_.actual_vector(token);
    if (vector.size() != actual.size())
      return std::numeric_limits<double>::infinity();
    return relative_error(vector, actual);
  }

  Caches& caches_;
  const Move& move_;
  std::optional<std::int64_t> last_;
  std::int64_t failures_ = 0;
};

}  // namespace

Moves find_moves(Caches& caches, const std::vector<Token>& tokens,
                 const Move& move) {
  return Finder(caches, move).run(tokens);
}

Predict moved(const Move& move, Moves moves) {
  return [key = move.key, at = move.at, moves = std::move(moves)](
             Caches& caches, const Token& token, std::vector<double>& out) {
    const auto source = moves.find(key(token));
    const Token from =
        source == moves.end() ? token : at(token, source->second);
    return copy_vector(caches.expected_vector(from), out);
  };
}

std::int64_t distinct(const Moves& moves) {
  std::set<std::int64_t> sources;
  for (const auto& [key, source] : moves) sources.insert(source);
  return std::ssize(sources);
}

}  // namespace kvtape::causes
