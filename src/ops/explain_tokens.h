// The numbers that hypotheses are tested on: vectors of tokens, as f64.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "core/slab.h"
#include "ops/diff_align.h"
#include "ops/explain.h"

namespace kvtape::causes {

/// The vector of one head of a token.
struct Token {
  std::int64_t layer = 0;
  TensorKind kind = TensorKind::kKey;
  std::int64_t row = 0;
  std::int64_t position = 0;  // in the expected cache
  std::int64_t slot = 0;      // in the actual cache
  std::int64_t head = 0;
};

/// Slots by position, those side by side as one run.
class SlotTable {
 public:
  /// Requires that positions come in order.
  void add(std::int64_t position, std::int64_t slot);

  std::int64_t size() const { return size_; }
  std::int64_t runs() const { return std::ssize(runs_); }
  std::int64_t first() const { return runs_.front().position; }
  std::int64_t last() const;
  std::int64_t last_slot() const;

  /// How many positions come before this one.
  std::int64_t rank(std::int64_t position) const;
  /// Requires rank < size().
  std::int64_t position_at(std::int64_t rank) const;
  /// Nothing where the position is not there.
  std::optional<std::int64_t> slot_of(std::int64_t position) const;

 private:
  struct Run {
    std::int64_t position = 0;
    std::int64_t slot = 0;
    std::int64_t rank = 0;
    std::int64_t count = 0;
  };
  std::vector<Run> runs_;
  std::int64_t size_ = 0;
};

/// One row of a layer.
struct RowOfSlots {
  SlotTable expected;       // live slots of the expected cache
  SlotTable meeting;        // by expected position: slots of the actual one
  std::int64_t extent = 0;  // slots of the actual layer
};

/// Reads both caches slot by slot and keeps what was read last. Spans and
/// references are valid until trim().
class Caches {
 public:
  Caches(const Tape& expected, const Tape& actual, const ExplainScope& scope);

  const Tape& expected() const { return expected_.tape; }
  const Tape& actual() const { return actual_.tape; }
  double limit() const { return scope_.limit; }

  const RowOfSlots& row(std::int64_t layer, std::int64_t row);

  /// All numbers [head, dim] of a position of the expected cache, or of a slot
  /// of the actual one; empty where there is none.
  std::span<const double> expected_slot(const Token& at);
  std::span<const double> actual_slot(const Token& at);
  /// Those of the head.
  std::span<const double> expected_vector(const Token& at);
  std::span<const double> actual_vector(const Token& at);

  /// The same tensor in both caches has these; of the expected cache.
  const Tensor* tensor(std::int64_t layer, TensorKind kind) const;
  std::int64_t heads(const Token& at) const;
  std::int64_t dims(const Token& at) const;

  /// Rounds numbers as the actual tensor would store them.
  void store(const Token& at, std::vector<double>& numbers);

  /// Gives up what was read, where it is much.
  void trim();

 private:
  using Key = std::tuple<std::int64_t, TensorKind, std::int64_t, std::int64_t>;
  struct Side {
    const Tape& tape;
    std::map<std::pair<std::int64_t, TensorKind>, Tensor> tensors;
    std::map<Key, std::vector<double>> slots;
  };

  static void add_tensors(Side& side);
  std::span<const double> slot(Side& side, std::int64_t layer, TensorKind kind,
                               std::int64_t row, std::int64_t slot);
  RowOfSlots found_row(std::int64_t layer, std::int64_t row) const;

  const ExplainScope& scope_;
  Side expected_;
  Side actual_;
  std::map<std::pair<std::int64_t, std::int64_t>, RowOfSlots> rows_;
  std::size_t numbers_ = 0;  // in both sides
  std::int64_t runs_ = 0;    // in the rows
  SlabReader reader_;
  std::vector<std::byte> buffer_;
};

/// |a - b| over the length of the longer one; 0 where both are 0. NaN equals
/// NaN and Inf equals Inf; otherwise what is not finite is infinitely wrong.
double relative_error(std::span<const double> a, std::span<const double> b);

/// What the differing slots of a row span.
struct Block {
  std::int64_t first = 0;  // positions that differ
  std::int64_t last = 0;
  bool agrees_before = false;
  bool agrees_after = false;
};

using RowKey = std::tuple<std::int64_t, TensorKind, std::int64_t>;

/// Differing vectors: some to find hypotheses with, others to test them on.
struct Samples {
  std::vector<Token> fit;
  std::vector<Token> check;  // empty where one slot differs
  std::map<RowKey, Block> blocks;
};
Samples take_samples(Caches& caches, const ExplainScope& scope);

/// "keys and values of layers 0..3, row 1, heads 0..7, positions 3..20"
std::string where_text(const std::vector<Token>& tokens);

}  // namespace kvtape::causes
