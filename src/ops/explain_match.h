// Which other vector of the expected cache stands where a token should be.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "ops/explain_causes.h"

namespace kvtape::causes {

/// What tokens have in common that moved alike: {layer, kind, row}, {head}, ...
using MoveKey = std::vector<std::int64_t>;
using Moves = std::map<MoveKey, std::int64_t>;

struct Move {
  /// The tokens that moved alike.
  std::function<MoveKey(const Token&)> key;
  /// Where a token may come from, likely ones first.
  std::function<std::vector<std::int64_t>(Caches&, const Token&)> sources;
  /// The token there.
  std::function<Token(const Token&, std::int64_t)> at;
};

/// For each key the source whose vectors most of its tokens have. Keys whose
/// tokens have none are left out.
Moves find_moves(Caches& caches, const std::vector<Token>& tokens,
                 const Move& move);

/// The vector at the source, the token's own one where the key is unknown;
/// nothing where the expected cache has no live slot there.
Predict moved(const Move& move, Moves moves);

/// How many different sources there are.
std::int64_t distinct(const Moves& moves);

}  // namespace kvtape::causes
