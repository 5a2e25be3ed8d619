// Storing a step into a row.
#include "ops/row_state.h"

#include <algorithm>

#include "kvtape/transformer_lens.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

using kernels::kSpan;

// Tokens are read from the trace in slabs of this many.
constexpr std::int64_t kTokensRead = 256;

// New rows as the cache holds them: rounded to the dtype of its tensor, which
// the pages of a quantized one have not.
class StoredRows {
 public:
  SlabView operator()(const Tensor& like, const SlabView& rows) {
    if (!like.quantized() || rows.dtype == like.dtype) return rows;
    bytes_.resize(
        static_cast<std::size_t>(rows.shape[0] * rows.shape[1] * rows.shape[2] *
                                 bytes_per_element(like.dtype)));
    copy_slab(rows, like.dtype, bytes_.data());
    return packed_slab(bytes_.data(), like.dtype, rows.shape);
  }

 private:
  std::vector<std::byte> bytes_;
};

// Writes tokens, standing as `standings` say, each into its slot.
void write_slots(const ReplayProblem& p, const RowSlots& slots,
                 std::span<const Standing> standings, const SlabView& rows,
                 PagedRows& to) {
  const auto count = static_cast<std::int64_t>(standings.size());
  const auto slot = [&](std::int64_t i) {
    return slot_of(p, slots, standings[static_cast<std::size_t>(i)].position);
  };
  for (std::int64_t first = 0; first < count;) {
    std::int64_t last = first + 1;
    while (last < count && slot(last) == slot(first) + last - first) ++last;
    // A shifting cache drops what is older than its extent at once.
    const std::int64_t gone =
        std::clamp<std::int64_t>(-slot(first), 0, last - first);
    if (first + gone < last)
      to.write(slot(first + gone),
               cut(rows, first + gone, last - first - gone));
    first = last;
  }
}

void store(const ReplayProblem& p, RowState& state, const Tensor& trace,
           std::span<const Standing> standings, const Tensor& like,
           PagedRows& to) {
  const auto count = static_cast<std::int64_t>(standings.size());
  if (p.layout == Layout::kGrowing) {
    if (!like.quantized())
      to.promote(transformer_lens::promoted(to.dtype(), trace.dtype));
    to.grow(count);
  }
  SlabReader reader;
  StoredRows stored;
  for (std::int64_t done = 0; done < count; done += kTokensRead) {
    const std::int64_t part = std::min(kTokensRead, count - done);
    const SlabView rows =
        reader.read(trace, state.row, standings.front().token + done, part);
    write_slots(p, state.slots,
                standings.subspan(static_cast<std::size_t>(done),
                                  static_cast<std::size_t>(part)),
                stored(like, rows), to);
  }
}

void shift_row(const ReplayProblem& p, RowState& state, std::int64_t count) {
  if (p.layout != Layout::kShift) return;
  const std::int64_t index = state.slots.index;
  const std::int64_t dropped =
      std::max<std::int64_t>(index + count - std::max(index, p.extent), 0);
  if (dropped == 0) return;
  state.key.shift(dropped);
  state.value.shift(dropped);
  if (state.rotated) state.rotated->shift(dropped);
  shift_slots(state.slots, dropped);
}

void rotate_new(const ReplayProblem& p, const Rotation& rotation,
                RowState& state, std::span<const Standing> standings) {
  const std::int64_t added = state.key.slots() - state.rotated->slots();
  if (added > 0) state.rotated->grow(added);
  for (const Standing& standing : standings) {
    const std::int64_t slot = slot_of(p, state.slots, standing.position);
    if (slot >= 0) refresh_rotated(p, rotation, state, slot, slot + 1);
  }
}

}  // namespace

RowState row_state(const ReplayProblem& p, std::int64_t row) {
  RowState state;
  state.row = row;
  state.tables = row_tables(p, row);
  state.slots = row_slots(p, state.tables, row);
  if (!p.cache->key->quantized()) state.key = PagedRows(*p.cache->key, row);
  if (!p.cache->value->quantized())
    state.value = PagedRows(*p.cache->value, row);
  return state;
}

std::vector<Standing> do_step(const ReplayProblem& p, const Rotation* rotation,
                              RowState& state, std::int64_t token,
                              std::int64_t count) {
  if (p.in_cache) return find_tokens(p, state.slots, state.row, token, count);
  shift_row(p, state, count);
  const std::int64_t position =
      write_position(p, state.slots, count).value_or(0);
  auto standings =
      take_tokens(p, state.tables, state.slots, token, count, position);
  if (count == 0) return standings;
  store(p, state, *p.layer->key, standings, *p.cache->key, state.key);
  store(p, state, *p.layer->value, standings, *p.cache->value, state.value);
  if (rotation != nullptr && state.rotated)
    rotate_new(p, *rotation, state, standings);
  return standings;
}

void refresh_rotated(const ReplayProblem& p, const Rotation& rotation,
                     RowState& state, std::int64_t first, std::int64_t last) {
  const std::int64_t floats = p.key_heads * p.key_dim;
  std::vector<float> rows;
  for (std::int64_t slot = first; slot < last;) {
    const std::int64_t count = std::min(kSpan - slot % kSpan, last - slot);
    const SlabView page = state.key.page(slot / kSpan);
    rows.resize(static_cast<std::size_t>(count * floats));
    auto* bytes = reinterpret_cast<std::byte*>(rows.data());
    copy_slab(cut(page, slot % kSpan, count), DType::kF32, bytes);
    rotation.apply(std::span(state.slots.rotary)
                       .subspan(static_cast<std::size_t>(slot),
                                static_cast<std::size_t>(count)),
                   p.key_heads, p.key_dim, rows.data());
    state.rotated->write(
        slot, packed_slab(bytes, DType::kF32, {count, p.key_heads, p.key_dim}));
    slot += count;
  }
}

std::vector<Page> pages_of(RowState& state, std::int64_t first,
                           std::int64_t last) {
  PagedRows& keys = state.rotated ? *state.rotated : state.key;
  std::vector<Page> pages(static_cast<std::size_t>(keys.pages()));
  for (std::int64_t page = 0; page < keys.pages(); ++page) {
    if (page * kSpan >= last || (page + 1) * kSpan <= first) continue;
    pages[static_cast<std::size_t>(page)] = {.key = keys.page(page),
                                             .value = state.value.page(page)};
  }
  return pages;
}

}  // namespace kvtape
