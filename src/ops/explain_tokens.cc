#include "ops/explain_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/convert.h"
#include "ops/pack_slab.h"
#include "ops/tensor_sources.h"
#include "ops/validate_findings.h"
#include "systems/element.h"

namespace kvtape::causes {
namespace {

// Numbers (8 bytes each) and runs of slots that are kept.
constexpr std::size_t kKeptNumbers = std::size_t{1} << 22;
constexpr std::int64_t kKeptRuns = std::int64_t{1} << 18;

// Numbers of each cache that are read to find what differs, and tokens of each
// sample; shared by the rows of all layers.
constexpr std::int64_t kScannedNumbers = std::int64_t{1} << 23;
constexpr std::int64_t kLeastSlots = 8;  // of each row
constexpr std::int64_t kMostSlots = 2048;
constexpr std::int64_t kMostRows = 512;
constexpr std::int64_t kSampleTokens = 4096;
// Slots side by side that go to the same sample.
constexpr std::size_t kBlock = 4;

std::span<const double> head_of(std::span<const double> slot, std::int64_t head,
                                std::int64_t dims) {
  const auto first = static_cast<std::size_t>(head * dims);
  const auto count = static_cast<std::size_t>(dims);
  if (head < 0 || first + count > slot.size()) return {};
  return slot.subspan(first, count);
}

}  // namespace

void SlotTable::add(std::int64_t position, std::int64_t slot) {
  if (!runs_.empty()) {
    Run& run = runs_.back();
    if (position == run.position + run.count && slot == run.slot + run.count) {
      ++run.count;
      ++size_;
      return;
    }
  }
  runs_.push_back(
      {.position = position, .slot = slot, .rank = size_, .count = 1});
  ++size_;
}

std::int64_t SlotTable::last() const {
  return runs_.back().position + runs_.back().count - 1;
}

std::int64_t SlotTable::last_slot() const {
  return runs_.back().slot + runs_.back().count - 1;
}

std::int64_t SlotTable::rank(std::int64_t position) const {
  const auto after = std::upper_bound(
      runs_.begin(), runs_.end(), position,
      [](std::int64_t at, const Run& run) { return at < run.position; });
  if (after == runs_.begin()) return 0;
  const Run& run = *(after - 1);
  return run.rank + std::min(position - run.position, run.count);
}

std::int64_t SlotTable::position_at(std::int64_t rank) const {
  const auto after = std::upper_bound(
      runs_.begin(), runs_.end(), rank,
      [](std::int64_t at, const Run& run) { return at < run.rank; });
  const Run& run = *(after - 1);
  return run.position + rank - run.rank;
}

std::optional<std::int64_t> SlotTable::slot_of(std::int64_t position) const {
  const auto after = std::upper_bound(
      runs_.begin(), runs_.end(), position,
      [](std::int64_t at, const Run& run) { return at < run.position; });
  if (after == runs_.begin()) return std::nullopt;
  const Run& run = *(after - 1);
  if (position >= run.position + run.count) return std::nullopt;
  return run.slot + position - run.position;
}

Caches::Caches(const Tape& expected, const Tape& actual,
               const ExplainScope& scope)
    : scope_(scope),
      expected_{.tape = expected, .tensors = {}, .slots = {}},
      actual_{.tape = actual, .tensors = {}, .slots = {}} {
  add_tensors(expected_);
  add_tensors(actual_);
}

void Caches::add_tensors(Side& side) {
  for (const auto& [number, layer] : side.tape.cache.layers)
    for (const TensorKind kind : {TensorKind::kKey, TensorKind::kValue}) {
      const auto& tensor = kind == TensorKind::kKey ? layer.key : layer.value;
      if (!tensor || !has_usable_axes(*tensor) || !is_float(tensor->dtype) ||
          !tensor->source || !tensor->source->has_values())
        continue;
      Tensor& floats = side.tensors[{number, kind}] = *tensor;
      if (!tensor->quantized()) continue;
      floats.source = dequantized_source(*tensor);
      floats.quantization = {};
    }
}

const Tensor* Caches::tensor(std::int64_t layer, TensorKind kind) const {
  const auto found = expected_.tensors.find({layer, kind});
  return found == expected_.tensors.end() ? nullptr : &found->second;
}

std::int64_t Caches::heads(const Token& at) const {
  return extents_of(*tensor(at.layer, at.kind)).heads;
}

std::int64_t Caches::dims(const Token& at) const {
  return extents_of(*tensor(at.layer, at.kind)).dims;
}

void Caches::store(const Token& at, std::vector<double>& numbers) {
  const DType dtype = actual_.tensors.at({at.layer, at.kind}).dtype;
  const auto count = std::ssize(numbers);
  buffer_.resize(numbers.size() * sizeof(double));
  const auto in_place = std::as_writable_bytes(std::span(numbers));
  kernels::convert(in_place.data(), kernels::Element::kF64, count,
                   element_of(dtype), buffer_.data());
  kernels::convert(buffer_.data(), element_of(dtype), count,
                   kernels::Element::kF64, in_place.data());
}

RowOfSlots Caches::found_row(std::int64_t layer, std::int64_t row) const {
  const LayerCache& e = expected_.tape.cache.layers.at(layer);
  RowOfSlots found;
  if (row < 0 || row >= extents_of(*either(e)).batch) return found;
  const auto expected = filled_slots(expected_.tape, e, row, scope_.dead);
  for (const FilledSlot& slot : expected)
    found.expected.add(slot.position, slot.slot);
  const auto a = actual_.tape.cache.layers.find(layer);
  if (a == actual_.tape.cache.layers.end()) return found;
  const Extents has = extents_of(*either(a->second));
  if (row >= has.batch) return found;
  found.extent = has.position;
  const Alignment aligned =
      align(expected, filled_slots(actual_.tape, a->second, row, scope_.dead),
            scope_.align);
  for (const SlotRun& run : aligned.runs)
    for (std::int64_t i = 0; i < run.count; ++i)
      found.meeting.add(run.position + i, run.actual + i);
  return found;
}

const RowOfSlots& Caches::row(std::int64_t layer, std::int64_t row) {
  const auto key = std::pair(layer, row);
  const auto found = rows_.find(key);
  if (found != rows_.end()) return found->second;
  RowOfSlots& added = rows_[key] = found_row(layer, row);
  runs_ += added.expected.runs() + added.meeting.runs();
  return added;
}

std::span<const double> Caches::slot(Side& side, std::int64_t layer,
                                     TensorKind kind, std::int64_t row,
                                     std::int64_t slot) {
  const auto tensor = side.tensors.find({layer, kind});
  if (slot < 0 || tensor == side.tensors.end()) return {};
  const auto [at, is_new] =
      side.slots.try_emplace({layer, kind, row, slot}, std::vector<double>());
  if (!is_new) return at->second;
  const Extents has = extents_of(tensor->second);
  if (row >= has.batch || slot >= has.position) return {};
  const SlabView view = reader_.read(tensor->second, row, slot, 1);
  const std::byte* data = packed(view, buffer_);
  std::vector<double>& numbers = at->second;
  numbers.resize(static_cast<std::size_t>(has.heads * has.dims));
  kernels::convert(data, element_of(view.dtype), std::ssize(numbers),
                   kernels::Element::kF64,
                   std::as_writable_bytes(std::span(numbers)).data());
  numbers_ += numbers.size();
  return numbers;
}

std::span<const double> Caches::expected_slot(const Token& at) {
  if (!expected_.tensors.contains({at.layer, at.kind})) return {};
  return slot(expected_, at.layer, at.kind, at.row,
              row(at.layer, at.row).expected.slot_of(at.position).value_or(-1));
}

std::span<const double> Caches::actual_slot(const Token& at) {
  return slot(actual_, at.layer, at.kind, at.row, at.slot);
}

std::span<const double> Caches::expected_vector(const Token& at) {
  const auto all = expected_slot(at);
  return all.empty() ? all : head_of(all, at.head, dims(at));
}

std::span<const double> Caches::actual_vector(const Token& at) {
  const auto all = actual_slot(at);
  return all.empty() ? all : head_of(all, at.head, dims(at));
}

void Caches::trim() {
  if (numbers_ > kKeptNumbers) {
    expected_.slots.clear();
    actual_.slots.clear();
    numbers_ = 0;
  }
  if (runs_ > kKeptRuns && rows_.size() > 1) {
    rows_.clear();
    runs_ = 0;
  }
}

double relative_error(std::span<const double> a, std::span<const double> b) {
  double error = 0;
  double a_squared = 0;
  double b_squared = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
      return std::numeric_limits<double>::infinity();
    }
    error += (a[i] - b[i]) * (a[i] - b[i]);
    a_squared += a[i] * a[i];
    b_squared += b[i] * b[i];
  }
  return error == 0 ? 0 : std::sqrt(error / std::max(a_squared, b_squared));
}

// ---- samples

namespace {

// A slot with the heads that differ.
struct DifferingSlot {
  Token token;
  std::vector<std::int64_t> heads;
};

bool inside(const std::vector<Interval>& positions, std::int64_t position) {
  return positions.empty() ||
         std::any_of(
             positions.begin(), positions.end(), [&](const Interval& interval) {
               return position >= interval.first && position < interval.last;
             });
}

class Sampler {
 public:
  Sampler(Caches& caches, const ExplainScope& scope)
      : caches_(caches), scope_(scope) {}

  Samples run() {
    std::vector<std::pair<const DifferingPart*, std::int64_t>> rows;
    for (const DifferingPart& part : scope_.differing)
      for (std::int64_t row = 0; row < rows_of(part); ++row)
        rows.emplace_back(&part, row);
    const auto step = static_cast<std::size_t>(
        (std::ssize(rows) + kMostRows - 1) / kMostRows);
    if (rows.empty()) return {};
    share_ = (std::ssize(rows) + static_cast<std::int64_t>(step) - 1) /
             static_cast<std::int64_t>(step);
    for (std::size_t i = 0; i < rows.size(); i += step)
      sample_row(*rows[i].first, rows[i].second);
    return std::move(samples_);
  }

 private:
  std::int64_t rows_of(const DifferingPart& part) const {
    const Tensor* tensor = caches_.tensor(part.layer, part.kind);
    return tensor ? extents_of(*tensor).batch : 0;
  }

  void sample_row(const DifferingPart& part, std::int64_t row) {
    const Token first{.layer = part.layer, .kind = part.kind, .row = row};
    caches_.trim();
    const SlotTable meeting = caches_.row(part.layer, row).meeting;
    std::vector<std::int64_t> suspects;  // positions
    for (std::int64_t rank = 0; rank < meeting.size(); ++rank)
      if (inside(part.positions, meeting.position_at(rank)))
        suspects.push_back(meeting.position_at(rank));
    std::vector<DifferingSlot> found = scan(first, suspects);
    if (found.empty()) return;
    samples_.blocks[{part.layer, part.kind, row}] = {
        .first = found.front().token.position,
        .last = found.back().token.position,
        .agrees_before = found.front().token.position > meeting.first(),
        .agrees_after = found.back().token.position < meeting.last()};
    divide(found);
  }

  // Slots that differ: of some blocks spread over the suspects, or where these
  // show nothing the first ones.
  std::vector<DifferingSlot> scan(const Token& row,
                                  const std::vector<std::int64_t>& suspects) {
    const std::int64_t most = std::clamp(
        kScannedNumbers / (share_ * caches_.heads(row) * caches_.dims(row)),
        kLeastSlots, kMostSlots);
    const auto count = std::ssize(suspects);
    const auto block = static_cast<std::int64_t>(kBlock);
    const std::int64_t blocks = std::max<std::int64_t>(1, most / block);
    std::vector<DifferingSlot> found;
    if (count <= most) {
      scan_range(row, suspects, 0, count, most, found);
      return found;
    }
    for (std::int64_t i = 0; i < blocks; ++i) {
      const std::int64_t first =
          blocks == 1 ? 0 : (count - block) * i / (blocks - 1);
      scan_range(row, suspects, first, first + block, most, found);
    }
    if (found.empty()) scan_range(row, suspects, 0, count, most, found);
    return found;
  }

  void scan_range(Token token, const std::vector<std::int64_t>& positions,
                  std::int64_t first, std::int64_t last, std::int64_t most,
                  std::vector<DifferingSlot>& found) {
    for (std::int64_t i = first; i < last && std::ssize(found) < most; ++i) {
      caches_.trim();
      token.position = positions[static_cast<std::size_t>(i)];
      token.slot =
          *caches_.row(token.layer, token.row).meeting.slot_of(token.position);
      DifferingSlot slot{.token = token};
      for (token.head = 0; token.head < caches_.heads(token); ++token.head)
        if (relative_error(caches_.expected_vector(token),
                           caches_.actual_vector(token)) > scope_.limit)
          slot.heads.push_back(token.head);
      if (!slot.heads.empty()) found.push_back(std::move(slot));
    }
  }

  // Blocks of neighbours go to either sample in turn.
  void divide(const std::vector<DifferingSlot>& found) {
    const auto heads = std::ssize(found.front().heads);
    const auto most = static_cast<std::size_t>(
        std::max<std::int64_t>(2, 2 * kSampleTokens / share_ / heads));
    const std::size_t block = std::min(kBlock, (found.size() + 1) / 2);
    const std::size_t pairs = (found.size() + 2 * block - 1) / (2 * block);
    const std::size_t kept = std::max<std::size_t>(1, most / (2 * block));
    for (std::size_t i = 0; i < std::min(pairs, kept); ++i) {
      const std::size_t pair =
          pairs <= kept || kept == 1 ? i : i * (pairs - 1) / (kept - 1);
      for (std::size_t j = 0; j < 2 * block; ++j)
        if (pair * 2 * block + j < found.size())
          add(found[pair * 2 * block + j],
              j < block ? samples_.fit : samples_.check);
    }
  }

  static void add(const DifferingSlot& slot, std::vector<Token>& sample) {
    for (const std::int64_t head : slot.heads) {
      sample.push_back(slot.token);
      sample.back().head = head;
    }
  }

  Caches& caches_;
  const ExplainScope& scope_;
  std::int64_t share_ = 1;  // rows that share the budget
  Samples samples_;
};

// The least and the largest of something of all tokens.
template <typename Get>
std::pair<std::int64_t, std::int64_t> range_of(const std::vector<Token>& tokens,
                                               Get get) {
  const auto [least, most] = std::minmax_element(
      tokens.begin(), tokens.end(),
      [&](const Token& a, const Token& b) { return get(a) < get(b); });
  return {get(*least), get(*most)};
}

std::string range_text(std::string_view word,
                       std::pair<std::int64_t, std::int64_t> range) {
  if (range.first == range.second)
    return fmt::format("{} {}", word, range.first);
  return fmt::format("{}s {}..{}", word, range.first, range.second);
}

}  // namespace

Samples take_samples(Caches& caches, const ExplainScope& scope) {
  return Sampler(caches, scope).run();
}

std::string where_text(const std::vector<Token>& tokens) {
  const auto kinds = range_of(
      tokens, [](const Token& token) { return std::int64_t(token.kind); });
  const auto of = [&](std::string_view word, std::int64_t Token::*what) {
    return range_text(word, range_of(tokens, [what](const Token& token) {
                        return token.*what;
                      }));
  };
  return fmt::format("{} of {}, {}, {}, {}",
                     kinds.first != kinds.second ? "keys and values"
                     : kinds.first == 0          ? "keys"
                                                 : "values",
                     of("layer", &Token::layer), of("row", &Token::row),
                     of("head", &Token::head),
                     of("position", &Token::position));
}

}  // namespace kvtape::causes
