// Rows of a chunk of tokens x spans of slots: every span gives every row a
// partial result, and the partial results are merged in ascending order.
#include "ops/attend.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "systems/element.h"

namespace kvtape {
namespace {

using kernels::kBlock;
using kernels::Kernels;
using kernels::kFewRows;
using kernels::kLanes;
using kernels::kScoreStride;
using kernels::kSpan;
using kernels::packed_stride;
using kernels::Slots;
using kernels::SoftmaxSum;

constexpr double kLog2E = 1.4426950408889634;

// Rows that share one read of a key head; more do not make it cheaper.
constexpr std::int64_t kRowsAtOnce = 64;
// Partial results of all spans wait here until they are merged.
constexpr std::int64_t kPartialBytes = 8 << 20;
// How far ahead memory is asked for, where it is not read in order.
constexpr std::int64_t kBytesAhead = 16 << 10;
// Multiplications that are worth waking a thread for.
constexpr std::int64_t kTaskWork = 256 << 10;

// Floats that grow, and that the next call of the same thread uses again.
class Scratch {
 public:
  float* floats(std::int64_t count) {
    if (count > size_) {
      constexpr std::int64_t kAlign = 64;
      const std::int64_t bytes = (count * 4 + kAlign - 1) / kAlign * kAlign;
      data_.reset(static_cast<float*>(
          std::aligned_alloc(kAlign, static_cast<std::size_t>(bytes))));
      size_ = data_ ? count : 0;
      if (!data_) throw std::bad_alloc();
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(float* data) const { std::free(data); }
  };
  std::unique_ptr<float, Free> data_;
  std::int64_t size_ = 0;
};

// A query head and the heads that it reads.
struct Head {
  std::int64_t query = 0;
  std::int64_t key = 0;
  std::int64_t value = 0;
};

// Heads [begin, end), in the order of reads, that share a key or value head.
struct Group {
  std::int64_t shared = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// What a token gets from the cache.
enum class Sight : std::uint8_t { kSome, kNothing, kUniform };

// Kept from call to call by each thread that calls attend().
struct Workspace {
  std::vector<Head> heads;       // those that read the same stand together
  std::vector<Group> keys;       // of heads
  std::vector<Sight> sights;     // [token]
  std::vector<SoftmaxSum> sums;  // [span, row]
  Scratch query;                 // [row, packed_stride(key_dim)], scaled
  Scratch values;                // [span, row, packed_stride(value_dim)]
};

// A few tokens of a problem. A row is a query head of a token, numbered
// head * tokens + token, where head counts in the order of reads.
struct Chunk {
  const AttendProblem& problem;
  const Kernels& kernels;
  Workspace& work;
  std::int64_t first_token = 0;
  std::int64_t tokens = 0;
  std::int64_t rows = 0;
  // Slots that some row reads, and spans that hold them.
  std::int64_t first_slot = 0;
  std::int64_t last_slot = 0;
  std::int64_t first_span = 0;
  std::int64_t spans = 0;
  float* query = nullptr;
  float* values = nullptr;

  const VisibleSlots& token(std::int64_t row) const {
    const std::int64_t number = first_token + row % tokens;
    return problem.tokens[static_cast<std::size_t>(number)];
  }
  Sight sight(std::int64_t row) const {
    return work.sights[static_cast<std::size_t>(row % tokens)];
  }
  const Head& head(std::int64_t row) const {
    return work.heads[static_cast<std::size_t>(row / tokens)];
  }
  SoftmaxSum& sum(std::int64_t span, std::int64_t row) const {
    return work.sums[static_cast<std::size_t>(span * rows + row)];
  }
  float* partial(std::int64_t span, std::int64_t row) const {
    return values + (span * rows + row) * packed_stride(problem.value_dim);
  }
};

kernels::Rows rows_of(const SlabView& view, std::int64_t head,
                      const kernels::Ahead& ahead) {
  kernels::Rows rows{
      .data = view.data + head * view.strides[1] * view.element_bytes(),
      .element = element_of(view.dtype),
      .slot_stride = view.strides[0],
      .dim_stride = view.strides[2],
      .ahead = ahead};
  if (view.scales == nullptr) return rows;
  rows.scales = view.scales +
                head * view.scale_strides[1] * bytes_per_element(view.dtype);
  rows.scale_stride = view.scale_strides[0];
  return rows;
}

void sort_heads(const AttendProblem& problem, std::vector<Head>& heads) {
  const std::int64_t queries = problem.attention.query_heads;
  const auto read = [&](std::int64_t query, std::int64_t count) {
    return problem.attention.head_map == HeadMap::kTile
               ? query % count
               : query / (queries / count);
  };
  heads.clear();
  for (std::int64_t query = 0; query < queries; ++query)
    heads.push_back({.query = query,
                     .key = read(query, problem.key_heads),
                     .value = read(query, problem.value_heads)});
  std::sort(heads.begin(), heads.end(), [](const Head& a, const Head& b) {
    if (a.key != b.key) return a.key < b.key;
    return a.value != b.value ? a.value < b.value : a.query < b.query;
  });
}

// Calls use(group) for each run of heads in [begin, end) with equal `shared`.
template <typename Use>
void for_each_group(const std::vector<Head>& heads, std::int64_t begin,
                    std::int64_t end, std::int64_t Head::*shared, Use use) {
  while (begin < end) {
    const std::int64_t head = heads[static_cast<std::size_t>(begin)].*shared;
    std::int64_t stop = begin + 1;
    while (stop < end && heads[static_cast<std::size_t>(stop)].*shared == head)
      ++stop;
    use(Group{.shared = head, .begin = begin, .end = stop});
    begin = stop;
  }
}

Sight sight_of(const AttendProblem& problem, const VisibleSlots& token) {
  const std::int64_t first = std::max<std::int64_t>(token.first, 0);
  const std::int64_t last = std::min(token.last, problem.slots);
  const bool some = first < last &&
                    (token.mask == nullptr ||
                     std::any_of(token.mask + first, token.mask + last,
                                 [](std::uint8_t seen) { return seen != 0; }));
  if (some) return Sight::kSome;
  return problem.attention.masked_rows == MaskedRows::kUniform
             ? Sight::kUniform
             : Sight::kNothing;
}

void find_slots(Chunk& chunk) {
  std::vector<Sight>& sights = chunk.work.sights;
  sights.clear();
  chunk.first_slot = chunk.problem.slots;
  chunk.last_slot = 0;
  for (std::int64_t row = 0; row < chunk.tokens; ++row) {
    const VisibleSlots& token = chunk.token(row);
    sights.push_back(sight_of(chunk.problem, token));
    if (sights.back() == Sight::kNothing) continue;
    const bool all = sights.back() == Sight::kUniform;
    chunk.first_slot = std::min(
        chunk.first_slot, all ? 0 : std::max<std::int64_t>(token.first, 0));
    chunk.last_slot = std::max(
        chunk.last_slot,
        all ? chunk.problem.slots : std::min(token.last, chunk.problem.slots));
  }
  if (chunk.first_slot >= chunk.last_slot) return;
  chunk.first_span = chunk.first_slot / kSpan;
  chunk.spans = (chunk.last_slot - 1) / kSpan + 1 - chunk.first_span;
}

// Scores live in base 2; with a cap, tanh comes between scale and base.
void scale_queries(Chunk& chunk) {
  const AttendProblem& problem = chunk.problem;
  const double scale = problem.attention.softmax_scale;
  const double cap = problem.attention.logit_softcap;
  const float factor =
      static_cast<float>(cap != 0 ? scale / cap : scale * kLog2E);
  const std::int64_t dim = problem.key_dim;
  const std::int64_t stride = packed_stride(dim);
  chunk.query = chunk.work.query.floats(chunk.rows * stride);
  for (std::int64_t row = 0; row < chunk.rows; ++row) {
    const std::int64_t token = chunk.first_token + row % chunk.tokens;
    const float* from =
        problem.query +
        (token * problem.attention.query_heads + chunk.head(row).query) * dim;
    float* to = chunk.query + row * stride;
    std::transform(from, from + dim, to,
                   [factor](float x) { return x * factor; });
    std::fill(to + dim, to + stride, 0.0F);
  }
}

// The slots of a span that the chunk reads, from the start of the span.
Slots slots_of(const Chunk& chunk, std::int64_t span) {
  const std::int64_t start = (chunk.first_span + span) * kSpan;
  const std::int64_t begin =
      std::max<std::int64_t>(chunk.first_slot - start, 0) / kBlock * kBlock;
  return {.begin = begin, .end = std::min(chunk.last_slot - start, kSpan)};
}

SoftmaxSum weigh(const Chunk& chunk, std::int64_t span, Slots slots,
                 std::int64_t row, float* scores) {
  if (chunk.sight(row) == Sight::kUniform) {
    std::fill(scores + slots.begin, scores + slots.end, 1.0F);
    return {.max = 0, .sum = static_cast<float>(slots.end - slots.begin)};
  }
  const std::int64_t start = (chunk.first_span + span) * kSpan;
  const VisibleSlots& token = chunk.token(row);
  const double cap = chunk.problem.attention.logit_softcap;
  return chunk.kernels.softmax(
      scores, slots,
      {.begin = token.first - start,
       .end = token.last - start,
       .mask = token.mask == nullptr ? nullptr : token.mask + start},
      static_cast<float>(cap * kLog2E));
}

// A call of a kernel: some slots, the rows of one of the groups of a task.
struct Part {
  Slots slots;
  Group group;
  std::int64_t number = 0;  // of the group
  std::int64_t groups = 0;
};

// What is asked for while a part is computed: where heads of a slot lie side by
// side, the part's share of the next slots; else the slots a little ahead. A
// single row of floats reads memory in order, which the CPU foresees by itself.
kernels::Ahead ahead_of(const SlabView& view, const Part& part,
                        std::int64_t head, std::int64_t rows) {
  const std::int64_t size = view.element_bytes();
  const std::int64_t slot_bytes = view.strides[0] * size;
  const std::byte* slots = view.data + part.slots.begin * slot_bytes;
  const std::int64_t count = part.slots.end - part.slots.begin;
  if (part.groups > 1) {
    const std::int64_t share = slot_bytes / part.groups;
    return {.data = slots + count * (slot_bytes + part.number * share),
            .bytes_per_slot = share};
  }
  const bool in_order = rows == 1 && size == bytes_per_element(DType::kF32);
  if (in_order || view.strides[0] != view.shape[2]) return {};
  return {.data = slots + head * view.strides[1] * size + kBytesAhead,
          .bytes_per_slot = slot_bytes};
}

// Scores [row, kScoreStride] of the rows of some key heads, from `first_row`.
void score_keys(const Chunk& chunk, const SlabView& key, const Part& part,
                std::int64_t first_row, float* scores, float* scratch) {
  const Group& group = part.group;
  const std::int64_t row = group.begin * chunk.tokens;
  const std::int64_t rows = (group.end - group.begin) * chunk.tokens;
  const std::int64_t dim = chunk.problem.key_dim;
  chunk.kernels.scores(
      rows_of(key, group.shared, ahead_of(key, part, group.shared, rows)),
      part.slots, dim, chunk.query + row * packed_stride(dim), rows,
      scores + (row - first_row) * kScoreStride, scratch);
}

// `scratch` begins with the chains of all rows.
void add_values(const Chunk& chunk, const SlabView& value, std::int64_t span,
                const Part& part, std::int64_t end, std::int64_t first_row,
                const float* weights, float* scratch) {
  const std::int64_t stride = packed_stride(chunk.problem.value_dim);
  const auto add = [&](const Group& group) {
    const std::int64_t row = group.begin * chunk.tokens;
    const std::int64_t rows = (group.end - group.begin) * chunk.tokens;
    chunk.kernels.values(
        rows_of(value, group.shared, ahead_of(value, part, group.shared, rows)),
        part.slots, end, chunk.problem.value_dim,
        weights + (row - first_row) * kScoreStride, rows,
        {.out = chunk.partial(span, row),
         .chains = scratch + (row - first_row) * stride},
        scratch + chunk.rows * stride);
  };
  for_each_group(chunk.work.heads, part.group.begin, part.group.end,
                 &Head::value, add);
}

// Calls use(part) so that memory is walked as it lies: one group over all
// slots, or all groups after each few slots.
template <typename Use>
void walk(Slots slots, std::span<const Group> groups, std::int64_t few,
          Use use) {
  const std::int64_t step = groups.size() == 1 ? kSpan : few;
  for (std::int64_t begin = slots.begin; begin < slots.end; begin += step)
    for (std::int64_t number = 0; number < std::ssize(groups); ++number)
      use(Part{.slots = {begin, std::min(begin + step, slots.end)},
               .group = groups[static_cast<std::size_t>(number)],
               .number = number,
               .groups = std::ssize(groups)});
}

// Slots of a group before the next one's turn: so many bytes that asking ahead
// pays, measured. f32 gains nothing by more.
std::int64_t few_slots(const SlabView& slab) {
  return slab.element_bytes() < 4 ? 2 * kLanes : kLanes;
}

// Fills the partial results of one span for the rows of some key heads.
void do_span(const Chunk& chunk, std::int64_t span,
             std::span<const Group> groups, float* scratch) {
  const AttendProblem& problem = chunk.problem;
  const Page& page =
      problem.pages[static_cast<std::size_t>(chunk.first_span + span)];
  const Slots slots = slots_of(chunk, span);
  const std::int64_t first = groups.front().begin * chunk.tokens;
  const std::int64_t last = groups.back().end * chunk.tokens;
  float* scores = scratch;
  float* spare = scratch + (last - first) * kScoreStride;

  walk(slots, groups, few_slots(page.key), [&](const Part& part) {
    score_keys(chunk, page.key, part, first, scores, spare);
  });
  for (std::int64_t row = first; row < last; ++row)
    chunk.sum(span, row) =
        weigh(chunk, span, slots, row, scores + (row - first) * kScoreStride);
  std::fill(chunk.partial(span, first), chunk.partial(span, last), 0.0F);
  const Group& front = groups.front();
  const bool few = (front.end - front.begin) * chunk.tokens < kFewRows;
  walk(slots, groups, few ? few_slots(page.value) : kBlock,
       [&](const Part& part) {
         add_values(chunk, page.value, span, part, slots.end, first, scores,
                    spare);
       });
}

void write_masked(const Chunk& chunk, std::int64_t dim, float* out) {
  const bool zeros = chunk.problem.attention.masked_rows == MaskedRows::kZeros;
  std::fill(out, out + dim, 0.0F);
  // 0 / 0 is the kernels' one NaN.
  if (!zeros) chunk.kernels.finish(0.0F, dim, out);
}

void merge_row(const Chunk& chunk, std::int64_t row) {
  const AttendProblem& problem = chunk.problem;
  const std::int64_t dim = problem.value_dim;
  const std::int64_t token = chunk.first_token + row % chunk.tokens;
  float* out =
      problem.output +
      (token * problem.attention.query_heads + chunk.head(row).query) * dim;
  if (chunk.sight(row) == Sight::kNothing) return write_masked(chunk, dim, out);
  SoftmaxSum total;
  std::fill(out, out + dim, 0.0F);
  for (std::int64_t span = 0; span < chunk.spans; ++span)
    if (chunk.sum(span, row).sum != 0)
      chunk.kernels.merge(chunk.sum(span, row), chunk.partial(span, row), dim,
                          total, out);
  chunk.kernels.finish(total.sum, dim, out);
}

// How many key heads one task takes: all that fit where the heads of a slot
// lie side by side, one where each head has its own run of slots.
std::int64_t groups_at_once(const Chunk& chunk) {
  const SlabView& key = chunk.problem.pages.front().key;
  const auto groups = std::ssize(chunk.work.keys);
  if (std::abs(key.strides[1]) > std::abs(key.strides[0])) return 1;
  return std::clamp<std::int64_t>(kRowsAtOnce * groups / chunk.rows, 1, groups);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

void do_spans(const Chunk& chunk, ThreadPool& pool) {
  const AttendProblem& problem = chunk.problem;
  const std::int64_t together = groups_at_once(chunk);
  const auto groups = std::ssize(chunk.work.keys);
  const std::int64_t work = kSpan * (problem.key_dim + problem.value_dim) *
                            ceil_div(chunk.rows * together, groups);
  const std::int64_t run =
      std::clamp<std::int64_t>(kTaskWork / work, 1, chunk.spans);
  const std::int64_t runs = ceil_div(chunk.spans, run);
  const std::int64_t scratch_floats =
      chunk.rows * (kScoreStride + packed_stride(problem.value_dim)) +
      kernels::scratch_floats(std::max(problem.key_dim, problem.value_dim));
  pool.run(runs * ceil_div(groups, together),
           [&](std::int64_t task, int /*worker*/) {
             thread_local Scratch scratch;
             float* floats = scratch.floats(scratch_floats);
             const std::int64_t first = task / runs * together;
             const auto part = std::span<const Group>(chunk.work.keys)
                                   .subspan(static_cast<std::size_t>(first),
                                            static_cast<std::size_t>(std::min(
                                                together, groups - first)));
             const std::int64_t begin = task % runs * run;
             const std::int64_t end = std::min(begin + run, chunk.spans);
             for (std::int64_t span = begin; span < end; ++span)
               do_span(chunk, span, part, floats);
           });
}

void merge_rows(const Chunk& chunk, ThreadPool& pool) {
  const std::int64_t work =
      std::max<std::int64_t>(chunk.spans * chunk.problem.value_dim, 1);
  const std::int64_t run =
      std::clamp<std::int64_t>(kTaskWork / work, 1, chunk.rows);
  pool.run(ceil_div(chunk.rows, run), [&](std::int64_t task, int /*worker*/) {
    const std::int64_t end = std::min((task + 1) * run, chunk.rows);
    for (std::int64_t row = task * run; row < end; ++row) merge_row(chunk, row);
  });
}

void do_chunk(Chunk& chunk, ThreadPool& pool) {
  find_slots(chunk);
  if (chunk.spans > 0) {
    scale_queries(chunk);
    const std::int64_t partials = chunk.spans * chunk.rows;
    chunk.work.sums.resize(static_cast<std::size_t>(partials));
    chunk.values = chunk.work.values.floats(
        partials * packed_stride(chunk.problem.value_dim));
    do_spans(chunk, pool);
  }
  merge_rows(chunk, pool);
}

std::int64_t tokens_at_once(const AttendProblem& problem) {
  const std::int64_t heads = problem.attention.query_heads;
  const std::int64_t spans =
      ceil_div(std::max<std::int64_t>(problem.slots, 1), kSpan);
  const std::int64_t token_bytes =
      spans * heads * packed_stride(problem.value_dim) * 4;
  return std::max<std::int64_t>(
      std::min(kRowsAtOnce * problem.key_heads / heads,
               kPartialBytes / token_bytes),
      1);
}

}  // namespace

void attend(const AttendProblem& problem, const kernels::Kernels& kernels,
            ThreadPool& pool) {
  if (problem.attention.query_heads == 0) return;
  thread_local Workspace work;
  sort_heads(problem, work.heads);
  work.keys.clear();
  for_each_group(work.heads, 0, std::ssize(work.heads), &Head::key,
                 [&](const Group& group) { work.keys.push_back(group); });
  const auto count = static_cast<std::int64_t>(problem.tokens.size());
  const std::int64_t step = tokens_at_once(problem);
  for (std::int64_t first = 0; first < count; first += step) {
    const std::int64_t tokens = std::min(step, count - first);
    Chunk chunk{.problem = problem,
                .kernels = kernels,
                .work = work,
                .first_token = first,
                .tokens = tokens,
                .rows = tokens * problem.attention.query_heads};
    do_chunk(chunk, pool);
  }
}

}  // namespace kvtape
