// Causes by which the slots of a row hold other positions, or nothing.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ops/explain_match.h"

namespace kvtape::causes {
namespace {

// Numbers that may be read to find out where one token comes from.
constexpr std::int64_t kSearchedNumbers = std::int64_t{1} << 20;
constexpr std::int64_t kLeastDistance = 64;

MoveKey row_key(const Token& token) {
  return {token.layer, std::int64_t(token.kind), token.row};
}

Block block_of(const Samples& samples, const MoveKey& key) {
  return samples.blocks.at({key[0], TensorKind(key[1]), key[2]});
}

// 1, -1, 2, -2, ... as far as the row or the budget goes.
std::vector<std::int64_t> distances(Caches& caches, const Token& token) {
  const auto length = caches.row(token.layer, token.row).expected.size();
  const std::int64_t most = std::min(
      length,
      std::max(kLeastDistance, kSearchedNumbers / (2 * caches.heads(token) *
                                                   caches.dims(token))));
  std::vector<std::int64_t> all;
  for (std::int64_t distance = 1; distance <= most; ++distance) {
    all.push_back(distance);
    all.push_back(-distance);
  }
  return all;
}

Token later(Token token, std::int64_t distance) {
  token.position -= distance;
  return token;
}

// Rows in which no token shows where it comes from follow most of the others.
Moves shifts_of(Caches& caches, const Samples& samples) {
  Moves moves = find_moves(caches, samples.fit,
                           {.key = row_key, .sources = distances, .at = later});
  if (moves.empty()) return moves;
  std::map<std::int64_t, int> votes;
  for (const auto& [key, distance] : moves) ++votes[distance];
  const auto usual = std::max_element(
      votes.begin(), votes.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  for (const auto& [key, block] : samples.blocks)
    moves.try_emplace(
        {std::get<0>(key), std::int64_t(std::get<1>(key)), std::get<2>(key)},
        usual->first);
  return moves;
}

std::string shifts_text(const Moves& moves) {
  std::map<std::int64_t, std::int64_t> by_row;
  bool rows_agree = true;
  for (const auto& [key, distance] : moves)
    rows_agree &=
        by_row.try_emplace(key[2], distance).first->second == distance;
  if (distinct(moves) == 1)
    return fmt::format("by {:+} positions", moves.begin()->second);
  if (!rows_agree || by_row.size() > 8) {
    const auto [least, most] = std::minmax_element(
        moves.begin(), moves.end(),
        [](const auto& a, const auto& b) { return a.second < b.second; });
    return fmt::format("by {:+} to {:+} positions", least->second,
                       most->second);
  }
  std::string text;
  for (const auto& [row, distance] : by_row)
    text += fmt::format("{}row {} by {:+} positions", text.empty() ? "" : ", ",
                        row, distance);
  return text;
}

// Whether something holds of every row that differs.
template <typename Holds>
bool all_rows(const Moves& moves, const Samples& samples, Holds holds) {
  return std::all_of(moves.begin(), moves.end(), [&](const auto& move) {
    return holds(move.first, move.second, block_of(samples, move.first));
  });
}

// The distance of each row is that of its padding.
bool is_padding(Caches& caches, const Moves& moves, const Samples& samples) {
  std::map<std::int64_t, std::int64_t> longest;  // by layer
  for (const auto& [key, distance] : moves) {
    const auto& live = caches.row(key[0], key[2]).expected;
    longest[key[0]] = std::max(longest[key[0]], live.last());
  }
  return all_rows(
      moves, samples, [&](const MoveKey& key, std::int64_t distance, Block) {
        const RowOfSlots& row = caches.row(key[0], key[2]);
        const std::int64_t left = row.meeting.first();
        const std::int64_t right = longest[key[0]] - row.expected.last();
        return std::abs(distance) == left || std::abs(distance) == right;
      });
}

// The last slots of a full row hold what belongs behind its end.
bool is_clamped(Caches& caches, const Moves& moves, const Samples& samples) {
  return all_rows(
      moves, samples,
      [&](const MoveKey& key, std::int64_t distance, const Block& block) {
        const RowOfSlots& row = caches.row(key[0], key[2]);
        return distance < 0 && block.agrees_before && !block.agrees_after &&
               row.meeting.last_slot() == row.extent - 1;
      });
}

// All slots hold something, in an order that goes round.
bool may_be_ring(Caches& caches, const Moves& moves, const Samples& samples) {
  return all_rows(moves, samples,
                  [&](const MoveKey& key, std::int64_t, const Block& block) {
                    const RowOfSlots& row = caches.row(key[0], key[2]);
                    return !block.agrees_before && !block.agrees_after &&
                           row.meeting.size() == row.extent &&
                           row.meeting.size() == row.expected.size();
                  });
}

Predict around(Moves moves) {
  return [moves = std::move(moves)](Caches& caches, const Token& token,
                                    std::vector<double>& out) {
    const auto distance = moves.find(row_key(token));
    if (distance == moves.end())
      return copy_vector(caches.expected_vector(token), out);
    const RowOfSlots& row = caches.row(token.layer, token.row);
    const std::int64_t count = row.expected.size();
    const std::int64_t rank =
        ((row.expected.rank(token.position) - distance->second) % count +
         count) %
        count;
    Token from = token;
    from.position = row.expected.position_at(rank);
    return copy_vector(caches.expected_vector(from), out);
  };
}

void propose_shifts(Caches& caches, const Samples& samples,
                    std::vector<Candidate>& candidates) {
  const Moves moves = shifts_of(caches, samples);
  if (moves.empty()) return;
  const Move move{.key = row_key, .sources = distances, .at = later};
  const auto add = [&](const char* cause) {
    candidates.push_back({.cause = cause,
                          .detail = shifts_text(moves),
                          .parameters = distinct(moves),
                          .predict = moved(move, moves)});
  };
  const auto is_between = [](const MoveKey&, std::int64_t, const Block& block) {
    return block.agrees_after;
  };
  const auto is_block = [](const MoveKey&, std::int64_t, const Block& block) {
    return block.agrees_before || block.agrees_after;
  };
  const bool between = all_rows(moves, samples, is_between);
  if (is_padding(caches, moves, samples)) add("padding-side");
  if (is_clamped(caches, moves, samples)) add("clamped-overflow");
  if (between) add("stale-slots");
  if (may_be_ring(caches, moves, samples))
    candidates.push_back({.cause = "ring-order",
                          .detail = shifts_text(moves) + ", going round",
                          .parameters = distinct(moves),
                          .predict = around(moves)});
  add("position-shift");
  if (!between && all_rows(moves, samples, is_block)) add("stale-slots");
}

void propose_unwritten(std::vector<Candidate>& candidates) {
  candidates.push_back(
      {.cause = "unwritten-slots",
       .detail = "zeros",
       .predict = [](Caches& caches, const Token& token,
                     std::vector<double>& out) {
         out.assign(static_cast<std::size_t>(caches.dims(token)), 0.0);
         return true;
       }});
}

}  // namespace

void propose_slots(Caches& caches, const Samples& samples,
                   std::vector<Candidate>& candidates) {
  propose_unwritten(candidates);
  propose_shifts(caches, samples, candidates);
}

}  // namespace kvtape::causes
