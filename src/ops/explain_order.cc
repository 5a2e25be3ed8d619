// Causes by which the elements of a slot stand in another order.
#include <fmt/format.h>

#include "ops/explain_rotary.h"

namespace kvtape::causes {
namespace {

// [head, dim] written as [dim, head], or the reverse.
Candidate transposed(bool to_dim_head) {
  return {.cause = "head-dim-transposed",
          .detail = to_dim_head ? "[dim, head] stands where [head, dim] should"
                                : "[head, dim] was taken for [dim, head]",
          .predict = [to_dim_head](Caches& caches, const Token& token,
                                   std::vector<double>& out) {
            const auto slot = caches.expected_slot(token);
            if (slot.empty()) return false;
            const std::int64_t heads = caches.heads(token);
            const std::int64_t dims = caches.dims(token);
            out.clear();
            for (std::int64_t dim = 0; dim < dims; ++dim) {
              const std::int64_t at = token.head * dims + dim;
              const std::int64_t from = to_dim_head
                                            ? at % heads * dims + at / heads
                                            : at % dims * heads + at / dims;
              out.push_back(slot[static_cast<std::size_t>(from)]);
            }
            return true;
          }};
}

// Dimensions 2i and 2i + 1 at i and i + pairs, or the reverse.
Candidate paired(std::int64_t dims, bool to_half) {
  return {.cause = "dims-permuted",
          .detail = fmt::format("{} of the first {} dims",
                                to_half ? "pairs 2i, 2i+1 stand as halves"
                                        : "halves stand as pairs 2i, 2i+1",
                                dims),
          .predict = [dims, to_half](Caches& caches, const Token& token,
                                     std::vector<double>& out) {
            const auto vector = caches.expected_vector(token);
            if (!copy_vector(vector, out)) return false;
            const std::int64_t pairs = dims / 2;
            if (dims > std::ssize(out)) return true;
            for (std::int64_t dim = 0; dim < 2 * pairs; ++dim) {
              const std::int64_t half = dim % 2 * pairs + dim / 2;
              const std::int64_t to = to_half ? half : dim;
              const std::int64_t from = to_half ? dim : half;
              out[static_cast<std::size_t>(to)] =
                  vector[static_cast<std::size_t>(from)];
            }
            return true;
          }};
}

}  // namespace

void propose_order(Caches& caches, const Samples& samples,
                   std::vector<Candidate>& candidates) {
  const Token& first = samples.fit.front();
  const std::int64_t dims = caches.dims(first);
  if (caches.heads(first) > 1 && dims > 1)
    for (const bool to_dim_head : {true, false})
      candidates.push_back(transposed(to_dim_head));
  for (const std::int64_t turned : turned_dims(caches, first))
    for (const bool to_half : {true, false})
      if (turned >= 4) candidates.push_back(paired(turned, to_half));
}

}  // namespace kvtape::causes
