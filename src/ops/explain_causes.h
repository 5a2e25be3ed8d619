// Hypotheses: what each family of causes proposes for some differing tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ops/explain_tokens.h"

namespace kvtape::causes {

/// The vector that a token should have in the actual cache if the hypothesis
/// holds; false where the hypothesis says nothing about this token.
using Predict =
    std::function<bool(Caches&, const Token&, std::vector<double>& out)>;

/// A hypothesis with its parameters.
struct Candidate {
  std::string cause;
  std::string detail;
  /// Numbers that were fitted; the simpler one wins where two fit alike.
  std::int64_t parameters = 0;
  /// Tokens that a parameter needs to be believed.
  std::int64_t tokens_per_parameter = 0;
  /// Error that grows with the position: systems compute angles in f32.
  double error_per_position = 0;
  Predict predict;
};

struct Family {
  const char* name;
  void (*propose)(Caches&, const Samples&, std::vector<Candidate>&);
};

// explain_slots.cc: where slots come from.
void propose_slots(Caches&, const Samples&, std::vector<Candidate>&);
// explain_axes.cc: another head, layer, row or kind.
void propose_axes(Caches&, const Samples&, std::vector<Candidate>&);
// explain_order.cc: the elements of a slot in another order.
void propose_order(Caches&, const Samples&, std::vector<Candidate>&);
// explain_factors.cc: factors and signs.
void propose_factors(Caches&, const Samples&, std::vector<Candidate>&);
// explain_dtypes.cc: bits and rounding.
void propose_dtypes(Caches&, const Samples&, std::vector<Candidate>&);
// explain_rotary.cc: rotary embedding.
void propose_rotary(Caches&, const Samples&, std::vector<Candidate>&);

/// Copies a vector; false where it is empty.
bool copy_vector(std::span<const double> from, std::vector<double>& to);

/// Some of them, spread evenly.
std::vector<Token> spread(const std::vector<Token>& tokens, std::size_t most);

}  // namespace kvtape::causes
