// Compares two tapes: fields, then layer by layer the numbers of live slots.
#include "kvtape/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/names.h"
#include "ops/diff_align.h"
#include "ops/diff_fields.h"
#include "ops/diff_outputs.h"
#include "ops/diff_stats.h"
#include "ops/diff_tensors.h"
#include "ops/dtype_order.h"
#include "ops/explain.h"
#include "ops/validate_findings.h"
#include "systems/element.h"

namespace kvtape {
namespace {

constexpr Words<DiffAlign, 4> kAlignWords{{{DiffAlign::kPosition, "position"},
                                           {DiffAlign::kStart, "start"},
                                           {DiffAlign::kEnd, "end"},
                                           {DiffAlign::kTokens, "tokens"}}};
constexpr Words<Verdict, 3> kVerdictWords{
    {{Verdict::kIdentical, "identical"},
     {Verdict::kRounding, "rounding"},
     {Verdict::kStructural, "structural"}}};

// What rounding may do to the vector of a token, as a part of its length: some
// steps of the storage format, since errors of one layer come back in those
// after it. Codes: about the step of their quantization.
double rounding_limit(const Tensor& tensor) {
  constexpr double kSteps = 16;
  switch (tensor.quantization.scheme) {
    case Quantization::Scheme::kInt8:
      return 0x1p-5;
    case Quantization::Scheme::kNF4:
      return 0x1p-2;
    case Quantization::Scheme::kNone:
      break;
  }
  switch (tensor.dtype) {
    case DType::kF32:
      return kSteps * 0x1p-24;
    case DType::kF16:
      return kSteps * 0x1p-11;
    case DType::kBF16:
      return kSteps * 0x1p-8;
    default:
      return kSteps * 0x1p-53;
  }
}

const std::optional<Tensor>& of(const LayerCache& layer, TensorKind kind) {
  return kind == TensorKind::kKey ? layer.key : layer.value;
}

std::string slots_text(
    const std::vector<std::pair<std::int64_t, FilledSlot>>& slots,
    std::string_view side) {
  return fmt::format(
      "{} live slots only in the {} cache, first row {} "
      "position {}",
      slots.size(), side, slots.front().first, slots.front().second.position);
}

class Diff {
 public:
  Diff(const Tape& expected, const Tape& actual, const DiffOptions& options)
      : expected_(expected),
        actual_(actual),
        options_(options),
        pool_(options.threads) {
    report_.exact = options.exact;
    report_.ulp = options.ulp;
    report_.align = options.align;
    report_.dtype = coarsest();
    set_tolerance();
    layers_ = selected_layers();
  }

  DiffReport run() {
    report_.fields = diff_fields(expected_, actual_);
    note_findings(expected_, "expected");
    note_findings(actual_, "actual");
    count_work();
    for (const std::int64_t number : layers_) compare_layer(number);
    set_verdict();
    return std::move(report_);
  }

  const kernels::Allowance allowance() const {
    using Rule = kernels::Allowance::Rule;
    return {.rule = options_.exact ? Rule::kBits
                    : options_.ulp ? Rule::kUlps
                                   : Rule::kTolerance,
            .rtol = report_.tolerance.rtol,
            .atol = report_.tolerance.atol,
            .ulps = options_.ulp.value_or(0),
            .nan_differs = options_.nan_differs};
  }

 private:
  // ---- what is compared

  DType coarsest() const {
    DType dtype = DType::kF64;
    for (const Tape* tape : {&expected_, &actual_})
      for (const auto& [number, layer] : tape->cache.layers) {
        coarsen(dtype, layer.key);
        coarsen(dtype, layer.value);
      }
    return dtype;
  }

  void set_tolerance() {
    report_.tolerance = default_tolerance(report_.dtype);
    if (options_.rtol || options_.atol)
      report_.tolerance = {.rtol = options_.rtol.value_or(0),
                           .atol = options_.atol.value_or(0)};
  }

  std::vector<std::int64_t> selected_layers() const {
    std::vector<std::int64_t> numbers;
    for (const Tape* tape : {&expected_, &actual_})
      for (const auto& [number, layer] : tape->cache.layers)
        numbers.push_back(number);
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    if (!options_.selection.layer) return numbers;
    const Interval kept =
        resolved(options_.selection.layer,
                 numbers.empty() ? 0 : numbers.back() + 1, "layer");
    std::erase_if(numbers, [&](std::int64_t number) {
      return number < kept.first || number >= kept.last;
    });
    return numbers;
  }

  bool is_selected(TensorKind kind) const {
    return !options_.selection.kind || *options_.selection.kind == kind;
  }

  void gap(std::string object, std::string reason) {
    report_.not_compared.push_back(
        {.object = std::move(object), .reason = std::move(reason)});
  }

  // What the reader had to leave out may be anything.
  void note_findings(const Tape& tape, std::string_view side) {
    for (const Finding& finding : tape.findings)
      if (finding.severity() == Severity::kError)
        gap(finding.object,
            fmt::format("{} in the {} file: {}: found {}", finding.rule, side,
                        finding.field, finding.found));
  }

  void count_work() {
    for (const std::int64_t number : layers_)
      if (const LayerCache* layer = find(expected_, number))
        if (const Tensor* tensor = either(*layer))
          total_ +=
              2 * extents_of(*tensor).position * extents_of(*tensor).batch;
  }

  static const LayerCache* find(const Tape& tape, std::int64_t number) {
    const auto found = tape.cache.layers.find(number);
    return found == tape.cache.layers.end() ? nullptr : &found->second;
  }

  // ---- layers

  void compare_layer(std::int64_t number) {
    const std::string object = "/layers/" + std::to_string(number);
    const LayerCache* e = find(expected_, number);
    const LayerCache* a = find(actual_, number);
    if (!e || !a)
      return gap(object, fmt::format("only in the {} cache",
                                     e ? "expected" : "actual"));
    runs_.reset();
    for (const TensorKind kind : {TensorKind::kKey, TensorKind::kValue})
      if (is_selected(kind))
        compare_kind(number, *e, *a, kind,
                     object + "/" + std::string(name(kind)));
  }

  void compare_kind(std::int64_t number, const LayerCache& e,
                    const LayerCache& a, TensorKind kind,
                    const std::string& object) {
    const auto& x = of(e, kind);
    const auto& y = of(a, kind);
    if (!x && !y) return;
    if (!x || !y)
      return gap(object, fmt::format("only in the {} cache",
                                     x ? "expected" : "actual"));
    for (const auto& [tensor, side] :
         {std::pair(&*x, "expected"), std::pair(&*y, "actual")})
      if (const std::string reason = unreadable(*tensor); !reason.empty())
        return gap(object, fmt::format("in the {} cache {}", side, reason));
    const Extents ex = extents_of(*x);
    const Extents ey = extents_of(*y);
    if (ex.heads != ey.heads || ex.dims != ey.dims || !fits(*x, e) ||
        !fits(*y, a))
      return gap(object, fmt::format("shape: expected {}, found {}",
                                     shape_text(*x), shape_text(*y)));
    compare_tensors(number, e, a, kind, *x, *y);
  }

  // Whether the slots of a layer are those of the tensor.
  static bool fits(const Tensor& tensor, const LayerCache& layer) {
    const Extents own = extents_of(tensor);
    const Extents all = extents_of(*either(layer));
    return own.batch == all.batch && own.position == all.position;
  }

  void compare_tensors(std::int64_t number, const LayerCache& e,
                       const LayerCache& a, TensorKind kind, const Tensor& x,
                       const Tensor& y) {
    if (!runs_) runs_ = rows_of(number, e, a);
    const Tensor expected = as_floats(x);
    const Tensor actual = as_floats(y);
    const TensorPair pair{
        .expected = &expected,
        .actual = &actual,
        .layer = number,
        .kind = kind,
        .heads = resolved(options_.selection.head, extents_of(x).heads, "head"),
        .rounding_limit = std::max(rounding_limit(x), rounding_limit(y))};
    kernels::Allowance allowed = allowance();
    allowed.ulp_of = element_of(coarser(x.dtype, y.dtype));
    add(diff_tensors(pair, *runs_, allowed, pool_, [this](std::int64_t slots) {
      done_ += slots;
      if (options_.progress) options_.progress(std::min(done_, total_), total_);
    }));
  }

  // ---- slots

  std::vector<RowRuns> rows_of(std::int64_t number, const LayerCache& e,
                               const LayerCache& a) {
    const std::string object = "/layers/" + std::to_string(number);
    const std::int64_t rows_e = extents_of(*either(e)).batch;
    const std::int64_t rows_a = extents_of(*either(a)).batch;
    const std::int64_t both = std::min(rows_e, rows_a);
    if (rows_e != rows_a)
      gap(object, fmt::format("rows {}..{} only in the {} cache", both,
                              std::max(rows_e, rows_a) - 1,
                              rows_e > rows_a ? "expected" : "actual"));
    const Interval rows = resolved(options_.selection.row, both, "row");
    std::vector<RowRuns> result;
    Unmatched expected_only;
    Unmatched actual_only;
    for (std::int64_t row = rows.first; row < rows.last; ++row) {
      const Alignment found = align(slots_of(expected_, e, row),
                                    slots_of(actual_, a, row), options_.align);
      for (const FilledSlot& slot : found.expected_only)
        expected_only.emplace_back(row, slot);
      for (const FilledSlot& slot : found.actual_only)
        actual_only.emplace_back(row, slot);
      result.push_back({.row = row, .runs = found.runs});
    }
    if (!expected_only.empty())
      gap(object, slots_text(expected_only, "expected"));
    if (!actual_only.empty()) gap(object, slots_text(actual_only, "actual"));
    return result;
  }

  using Unmatched = std::vector<std::pair<std::int64_t, FilledSlot>>;

  std::vector<FilledSlot> slots_of(const Tape& tape, const LayerCache& layer,
                                   std::int64_t row) const {
    return filled_slots(tape, layer, row, options_.dead,
                        options_.selection.position);
  }

  // ---- the report

  void add(const TensorDiff& found) {
    for (const DiffCell& cell : found.cells) {
      kvtape::add(cell.stats, report_.total);
      if (cell.worst && (!report_.worst || worse(*cell.worst, *report_.worst)))
        report_.worst = cell.worst;
      if (!report_.deciding || excess(cell) > excess(*report_.deciding))
        report_.deciding = cell;
      report_.cells.push_back(cell);
    }
    report_.bands.insert(report_.bands.end(), found.bands.begin(),
                         found.bands.end());
    if (found.first &&
        (!report_.first || earlier(*found.first, *report_.first)))
      report_.first = found.first;
  }

  static double excess(const DiffCell& cell) {
    return cell.stats.token_error / cell.rounding_limit;
  }

  void set_verdict() {
    if (report_.total.differing == 0)
      report_.verdict = Verdict::kIdentical;
    else if (excess(*report_.deciding) <= 1)
      report_.verdict = Verdict::kRounding;
    else
      report_.verdict = Verdict::kStructural;
  }

  const Tape& expected_;
  const Tape& actual_;
  const DiffOptions& options_;
  ThreadPool pool_;
  DiffReport report_;
  std::vector<std::int64_t> layers_;
  std::optional<std::vector<RowRuns>> runs_;  // of the layer at work
  std::int64_t total_ = 0;                    // slots of keys and values
  std::int64_t done_ = 0;
};

// The state after a trace as a cache of its own.
Tape final_cache(const Tape& tape) {
  Tape result;
  result.source = tape.source;
  result.cache = tape.cache;
  result.cache.layers = tape.final_state->layers;
  if (tape.final_state->attention_mask)
    result.cache.attention_mask = tape.final_state->attention_mask;
  return result;
}

DiffOther& other_at(const DiffCell& cell, std::vector<DiffOther>& others) {
  const std::string object =
      fmt::format("/final/layers/{}/{}", cell.layer, name(cell.kind));
  if (others.empty() || others.back().object != object)
    others.push_back({.object = object});
  return others.back();
}

void diff_final(const Tape& expected, const Tape& actual,
                const DiffOptions& options, DiffReport& report) {
  if (!expected.final_state || !actual.final_state) return;
  DiffOptions same_rule = options;
  same_rule.progress = nullptr;
  if (!options.exact && !options.ulp) {
    same_rule.rtol = report.tolerance.rtol;
    same_rule.atol = report.tolerance.atol;
  }
  const DiffReport found =
      Diff(final_cache(expected), final_cache(actual), same_rule).run();
  for (const DiffCell& cell : found.cells)
    add(cell.stats, other_at(cell, report.others).stats);
  for (const DiffGap& gap : found.not_compared)
    report.not_compared.push_back({"/final" + gap.object, gap.reason});
}

// The errors of the worst head over the positions.
void diff_worst_head(const Tape& expected, const Tape& actual,
                     DiffOptions options, DiffReport& report) {
  if (!report.worst) return;
  const DiffPoint& worst = *report.worst;
  options.progress = nullptr;
  options.selection.layer = IndexRange{worst.layer, worst.layer + 1};
  options.selection.head = IndexRange{worst.head, worst.head + 1};
  options.selection.kind = worst.kind;
  report.worst_head = Diff(expected, actual, options).run().bands;
}

}  // namespace

std::string_view name(DiffAlign value) { return word_of(kAlignWords, value); }
std::optional<DiffAlign> align_from_name(std::string_view name) {
  return value_of(kAlignWords, name);
}
std::string_view name(Verdict value) { return word_of(kVerdictWords, value); }

bool DiffReport::success() const {
  return total.mismatched == 0 && not_compared.empty() &&
         std::all_of(others.begin(), others.end(),
                     [](const DiffOther& other) {
                       return other.stats.mismatched == 0;
                     }) &&
         std::none_of(fields.begin(), fields.end(),
                      [](const DiffField& field) { return field.counts; });
}

DiffReport diff(const Tape& expected, const Tape& actual,
                const DiffOptions& options) {
  Diff work(expected, actual, options);
  DiffReport report = work.run();
  if (options.selection.whole()) {
    diff_trace(expected, actual, options, work.allowance(), report);
    diff_final(expected, actual, options, report);
  }
  diff_worst_head(expected, actual, options, report);
  diff_outputs(expected, actual, options, work.allowance(), report);
  if (options.explain && report.verdict == Verdict::kStructural)
    report.explanation =
        explain(expected, actual, explain_scope(report, options));
  return report;
}

}  // namespace kvtape
