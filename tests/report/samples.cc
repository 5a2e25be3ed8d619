// Tapes and reports that are made up, for the tests of their texts.
#include "samples.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace kvtape::samples {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A source with a description and no bytes: texts need no more.
class Described : public SlabSource {
 public:
  explicit Described(Storage storage) : storage_(std::move(storage)) {}
  std::span<const std::byte> bytes() const override { return {}; }
  void read(const Box&, std::span<std::byte>) const override {}
  Storage storage() const override { return storage_; }

 private:
  Storage storage_;
};

Storage stored(std::string layout, std::string filters, std::int64_t bytes) {
  Storage storage;
  storage.layout = std::move(layout);
  storage.filters = std::move(filters);
  storage.stored_bytes = bytes;
  return storage;
}

Tensor described(DType dtype, std::vector<Axis> axes, Storage storage = {}) {
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.axes = std::move(axes);
  tensor.source = std::make_shared<Described>(std::move(storage));
  return tensor;
}

std::vector<Axis> cache_axes(std::int64_t batch, std::int64_t positions,
                             std::int64_t heads, std::int64_t dim) {
  return {{AxisKind::kBatch, "batch", batch},
          {AxisKind::kPosition, "position", positions},
          {AxisKind::kHead, "head", heads},
          {AxisKind::kDim, "dim", dim}};
}

Tensor int32_tensor(std::vector<Axis> axes,
                    const std::vector<std::int32_t>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(std::int32_t));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return make_tensor(DType::kI32, std::move(axes), std::move(bytes));
}

Tensor per_row(const std::vector<std::int32_t>& values) {
  const auto rows = static_cast<std::int64_t>(values.size());
  return int32_tensor({{AxisKind::kBatch, "batch", rows}}, values);
}

Tensor nf4(std::vector<Axis> axes, std::int64_t block) {
  Tensor tensor = described(DType::kF16, std::move(axes),
                            stored("chunked", "shuffle, deflate", 900));
  const std::int64_t count = element_count(tensor);
  tensor.quantization.scheme = Quantization::Scheme::kNF4;
  tensor.quantization.block_size = block;
  tensor.quantization.scale_count = count / block;
  tensor.quantization.payload_dtype = DType::kU8;
  tensor.quantization.payload_count = count / 2;
  return tensor;
}

LayerCache first_layer() {
  LayerCache layer;
  const Storage storage = stored("contiguous", "", 65536);
  layer.key = described(DType::kF16, cache_axes(2, 128, 4, 32), storage);
  layer.value = described(DType::kF16, cache_axes(2, 128, 4, 32), storage);
  layer.index = per_row({20, 20});
  layer.starts = per_row({0, 3});
  layer.layer_index = 0;
  return layer;
}

// Quantized values, a window, other frequencies, axes in another order.
LayerCache second_layer() {
  LayerCache layer = first_layer();
  layer.key->axes = {{AxisKind::kBatch, "batch", 2},
                     {AxisKind::kHead, "kv", 4},
                     {AxisKind::kPosition, "seq", 128},
                     {AxisKind::kDim, "projection", 32}};
  layer.value = nf4(cache_axes(2, 128, 4, 32), 32);
  layer.index = per_row({20, 17});
  layer.layer_index = 1;
  layer.window = 64;
  layer.layout = Layout::kRing;
  layer.frozen = true;
  layer.rotary.theta = 1e6;
  return layer;
}

Trace trace() {
  Trace trace;
  trace.step_lengths =
      int32_tensor({{AxisKind::kToken, "steps", 5}}, {12, 1, 1, 1, 1});
  trace.token_mask = described(DType::kBool, {{AxisKind::kBatch, "batch", 2},
                                              {AxisKind::kToken, "token", 16}});
  for (std::int64_t layer = 0; layer < 2; ++layer) {
    const std::vector<Axis> axes{{AxisKind::kBatch, "batch", 2},
                                 {AxisKind::kToken, "token", 16},
                                 {AxisKind::kHead, "head", 8},
                                 {AxisKind::kDim, "dim", 32}};
    trace.layers[layer].query = described(DType::kF32, axes);
    if (layer == 0) trace.layers[layer].output = described(DType::kF32, axes);
  }
  trace.operations[0].kind = OperationKind::kAppend;
  trace.operations[0].layer = 1;
  trace.operations[2].error = "rejected";
  return trace;
}

std::vector<Extra> extras() {
  return {{.path = "/layers/0/weights/query",
           .attributes = {},
           .tensor = described(DType::kF32, {{AxisKind::kDim, "dim", 32}})},
          {.path = "/notes",
           .attributes = {{"none", NoValue{}},
                          {"checked", true},
                          {"seed", std::int64_t{7}},
                          {"rate", kNaN},
                          {"text", hostile_name()},
                          {"sizes", std::vector<std::int64_t>{1, 2}}},
           .tensor = {}},
          {.path = "/trace/others",
           .attributes = {},
           .tensor = described(DType::kF16, cache_axes(1, 1, 1, 2))}};
}

double grown(int layer, int step, int layers) {
  return 1e-6 * (1.0 + 0.2 * step) * (1.0 + layer) / layers;
}

ReplayPoint point(int step, int layer, double error) {
  return {.step = step,
          .token = step + 11,
          .position = step + 11,
          .layer = layer,
          .row = 0,
          .head = 14,
          .dim = 2,
          .expected = 0.412109375,
          .actual = 0.412109375 + error,
          .allowed = 4.22e-4,
          .abs_error = error};
}

void add_step(ReplayReport& report, int step, bool failing) {
  const int layers = static_cast<int>(report.layers);
  ReplayRow row{.number = step,
                .position = step + 11,
                .compared = 1024 * layers,
                .out_of_tolerance = failing ? 3 : 0,
                .worst = point(step, 0, 0)};
  for (int layer = 0; layer < layers; ++layer) {
    const bool jumps = failing && layer == layers / 2;
    const double error = jumps ? 6.8e-3 : grown(layer, step, layers);
    report.errors[static_cast<std::size_t>(layer)].push_back(error);
    const ReplayPoint worst = point(step, layer, error);
    if (error > row.worst.abs_error) row.worst = worst;
    ReplayRow& total = report.by_layer[static_cast<std::size_t>(layer)];
    total.compared += 1024;
    if (jumps) total.out_of_tolerance += 3;
    if (error > total.worst.abs_error) total.worst = worst;
  }
  if (failing && !report.first) report.first = row.worst;
  if (!report.worst || row.worst.abs_error > report.worst->abs_error) {
    report.worst = row.worst;
  }
  report.compared += row.compared;
  report.out_of_tolerance += row.out_of_tolerance;
  report.by_step.push_back(row);
}

}  // namespace

ConvertReport conversion() {
  return {.input = "run.h5",
          .output = "run.json",
          .format = "JSON",
          .input_bytes = 12'600'000,
          .output_bytes = 31'400'000,
          .layers = 3,
          .from_dtypes = "f16",
          .to_dtypes = "f16",
          .digests = 14};
}

ConvertReport lossy_conversion() {
  ConvertReport report = conversion();
  report.output = hostile_name();
  report.from_dtypes = "8bit of bf16, f32";
  report.select = "row=0";
  report.axes = "batch,head,position,dim";
  report.set = "frozen=1";
  report.left_out = {"/trace/operations", "/notes"};
  report.rounding = {
      .tensors = 6,
      .values = 1'234'567,
      .changed = 1'200'000,
      .infinite = 2,
      .zero = 3,
      .largest = 0.25,
      .largest_at =
          RoundedElement{"/layers/1/key", {0, 3, 1, 2}, 1000.25, 1000.0},
      .infinite_at = RoundedElement{"/layers/2/value",
                                    {1, 0, 0, 5},
                                    1e6,
                                    std::numeric_limits<double>::infinity()}};
  return report;
}

std::string hostile_name() { return "a\x1b[2J\xe2\x80\xae\xff\"<&\n"; }

NamedTape tape() {
  NamedTape named{.file = "run42.h5", .file_bytes = 12'600'000, .tape = {}};
  Tape& tape = named.tape;
  tape.source = "easydel";
  tape.producer = "easydel 0.1.0 on jax";
  tape.model = "tiny-gpt";
  Cache& cache = tape.cache;
  cache.metadata.batch_size = 2;
  cache.metadata.sequence_length = 128;
  cache.metadata.num_hidden_layers = 3;
  cache.metadata.key_heads = 4;
  cache.attention.query_heads = 8;
  cache.attention.logit_softcap = 50;
  cache.rotary.style = RotaryStyle::kHalf;
  cache.layers[0] = first_layer();
  cache.layers[1] = second_layer();
  cache.attention_mask = described(
      DType::kBool,
      {{AxisKind::kBatch, "batch", 2}, {AxisKind::kPosition, "position", 128}});
  tape.trace = trace();
  tape.final_state.emplace();
  tape.final_state->layers[0] = first_layer();
  tape.extras = extras();
  tape.findings = {{.rule = "E20",
                    .object = "/layers/2",
                    .field = "key",
                    .expected = "a dataset",
                    .found = "nothing",
                    .fix = ""}};
  return named;
}

NamedTape plain_tape(int layers) {
  NamedTape named{.file = "plain.h5", .file_bytes = 1234, .tape = {}};
  Cache& cache = named.tape.cache;
  cache.metadata.batch_size = 1;
  cache.metadata.sequence_length = 1024;
  cache.metadata.num_hidden_layers = layers;
  for (int number = 0; number < layers; ++number) {
    LayerCache& layer = cache.layers[number];
    layer.key = described(DType::kF32, cache_axes(1, 1024, 8, 64),
                          stored("contiguous", "", 2097152));
    layer.value = layer.key;
    layer.index = per_row({512});
    layer.starts = per_row({0});
    layer.layer_index = number;
  }
  return named;
}

NamedValidation unsound() {
  return {.file = "run42.h5",
          .report = {.findings = {{.rule = "W03",
                                   .object = "/layers/3/key",
                                   .field = "dtype",
                                   .expected = "f16",
                                   .found = "f32",
                                   .fix = "kvtape convert --dtype f16"},
                                  {.rule = "E07",
                                   .object = "/layers/7/value",
                                   .field = "shape",
                                   .expected = "[1, 1024, 8, 64]",
                                   .found = "[1, 1023, 8, 64]",
                                   .fix = "dump layer 7 again, or set "
                                          "sequence_length to 1023"},
                                  {.rule = "E12",
                                   .object = hostile_name(),
                                   .field = "",
                                   .expected = "",
                                   .found = hostile_name(),
                                   .fix = ""}},
                     .rules = 31,
                     .values = false}};
}

NamedValidation sound() {
  return {.file = "run42.h5",
          .report = {.findings = {}, .rules = 45, .values = true}};
}

ReplayReport replay(int layers, int steps, int failing_step) {
  ReplayReport report;
  report.steps = steps;
  report.tokens = steps + 11;
  report.layers = layers;
  report.rows = 1;
  report.query_heads = 32;
  report.cache_dtype = DType::kF16;
  report.tolerance = {.rtol = 1e-3, .atol = 1e-5};
  report.errors.resize(static_cast<std::size_t>(layers));
  for (int layer = 0; layer < layers; ++layer) {
    report.by_layer.push_back({.number = layer, .worst = point(0, layer, 0)});
  }
  for (int step = 0; step < steps; ++step) {
    const bool failing =
        failing_step >= 0 && step >= failing_step && step % 3 != 2;
    add_step(report, step, failing);
  }
  return report;
}

ReplayReport troubled_replay() {
  ReplayReport report = replay(2, 9, 5);
  report.rows = 2;
  report.mode = ReplayOptions::Mode::kFaithful;
  report.tolerance = {.rtol = 0, .atol = 1e-4};
  report.errors[1][7] = kNaN;
  report.by_step[7].worst.abs_error = kNaN;
  report.by_step[7].worst.actual = kNaN;
  report.by_step[8].compared = 0;
  report.worst = report.by_step[7].worst;
  report.doubling_steps = 21.34;
  report.not_compared = {"/trace/layers/1/output: absent"};
  report.findings = {{.rule = "E50",
                      .object = "/trace step 8",
                      .field = "write",
                      .expected = "slots 19..19 below 19",
                      .found = "clamped to 18",
                      .fix = ""}};
  report.final_state = {{.object = "/final/layers/0/key",
                         .compared = 512,
                         .differing = 0,
                         .first = ""},
                        {.object = "/final/layers/0/value",
                         .compared = 512,
                         .differing = 2,
                         .first = "row 0 position 5 head 1 dim 2"},
                        {.object = "/final/layers/1/key",
                         .compared = 0,
                         .differing = 0,
                         .first = "shapes differ"}};
  return report;
}

DiffReport difference(int layers) {
  DiffReport report{.verdict = Verdict::kRounding, .dtype = DType::kF16};
  report.tolerance = default_tolerance(report.dtype);
  const int bad = layers < 2 ? layers : layers / 2;
  for (int layer = 0; layer < layers; ++layer)
    for (const TensorKind kind : {TensorKind::kKey, TensorKind::kValue})
      for (int head = 0; head < 8; ++head) {
        const bool wrong =
            layer >= bad && head == 3 && kind == TensorKind::kValue;
        const double error = wrong ? 0.25 : 1e-6 * (1 << (layer + head) % 8);
        DiffCell cell{.layer = layer, .kind = kind, .head = head};
        cell.rounding_limit = 0x1p-7;
        cell.stats = {.compared = 4096,
                      .mismatched = wrong ? 5 : 0,
                      .differing = 900,
                      .max_abs = error,
                      .max_rel = 4.5,
                      .max_ulps = 2.5,
                      .sum_ulps = 700,
                      .squared_error = error * error,
                      .squared_expected = 4096,
                      .cosine = wrong ? 0.25 : 0.999999,
                      .token_error = wrong ? 0.9 : 1e-4};
        cell.worst = DiffPoint{.layer = layer,
                               .kind = kind,
                               .position = 17,
                               .head = head,
                               .dim = 4,
                               .expected = 0.0553589,
                               .actual = 0.0553589 + error,
                               .allowed = 6.5e-5,
                               .abs_error = error};
        report.total.compared += 4096;
        report.total.mismatched += cell.stats.mismatched;
        report.total.differing += 900;
        if (!report.worst || error > report.worst->abs_error)
          report.worst = cell.worst;
        if (wrong) {
          cell.first_bad = 17;
          report.verdict = Verdict::kStructural;
          if (!report.first) report.first = cell.worst;
        }
        if (!report.deciding ||
            cell.stats.token_error > report.deciding->stats.token_error)
          report.deciding = cell;
        report.cells.push_back(cell);
        if (head == 3)
          for (int position = 0; position < 32; ++position) {
            DiffBand band{.layer = layer,
                          .kind = kind,
                          .first = position,
                          .last = position + 1,
                          .stats = cell.stats};
            if (position != 17) band.stats.max_abs = error / 100;
            if (position == 18) band.stats = {.compared = 128};
            report.bands.push_back(band);
          }
      }
  for (const DiffBand& band : report.bands)
    if (report.worst && band.layer == report.worst->layer &&
        band.kind == report.worst->kind)
      report.worst_head.push_back(band);
  return report;
}

DiffReport troubled_difference() {
  DiffReport report = difference(3);
  report.align = DiffAlign::kEnd;
  report.total.nan_actual = 2;
  report.total.non_finite = 2;
  report.cells[5].stats.non_finite = 2;
  report.cells[5].stats.non_finite_mismatched = 2;
  report.cells[5].stats.mismatched = 2;
  report.cells[6].stats = {};
  report.cells[6].worst.reset();
  report.fields = {{.object = "/metadata",
                    .field = "batch_size",
                    .expected = "2",
                    .actual = "1"},
                   {.object = hostile_name(),
                    .field = "source",
                    .expected = hostile_name(),
                    .actual = "-",
                    .counts = false}};
  report.not_compared = {
      {.object = "/layers/3", .reason = "only in the expected cache"},
      {.object = "/layers/4", .reason = "only in the expected cache"},
      {.object = "/layers/0/key", .reason = hostile_name()}};
  report.outputs = {
      {.layer = 0, .head = 2, .stats = report.cells[1].stats},
      {.layer = 1, .head = 5, .stats = report.deciding->stats, .first_bad = 3}};
  report.others = {{.object = "/trace/layers/1/output",
                    .stats = report.deciding->stats,
                    .first = report.first},
                   {.object = "/final/layers/1/key"}};
  report.outputs_missing = "/trace/layers/1: cannot be replayed";
  report.explanation = Explanation{
      .found = true,
      .limit = 0x1p-7,
      .evidence = {{.cause = "heads-permuted",
                    .detail = hostile_name(),
                    .median = 1e-4,
                    .worst = 2e-4,
                    .same_as = {"heads-tiled", "heads-permuted"}},
                   {.cause = "position-shift",
                    .detail = "by +1",
                    .median = 1.4,
                    .worst = std::numeric_limits<double>::infinity()}}};
  return report;
}

StatsReport statistics() {
  StatsReport report;
  for (int layer = 0; layer < 8; ++layer)
    for (const TensorKind kind : {TensorKind::kKey, TensorKind::kValue}) {
      StatsRow row{.layer = layer, .kind = kind, .count = 64, .zeros = 2};
      row.std = 1;
      row.min = -3;
      row.max = 2.5;
      row.norms = {.count = 4, .min = 1, .max = 3, .sum = 8};
      row.quantiles = Quantiles{.p50 = 0.7, .p90 = 1.5, .p99 = 2, .p999 = 2.5};
      for (std::int64_t part = 0; part < kHistogramParts; ++part)
        row.histogram.push_back(part * (kHistogramParts - part) / 8);
      report.rows.push_back(row);
    }
  report.rows[1].saturated = 5;
  report.rows[2].positions = Interval{4, 8};
  report.rows[3].head = 2;
  report.rows[3].channel = 7;
  report.rows[4] = {.layer = 2, .count = 3, .nan = 2, .inf = 1};
  report.findings = {{.layer = 2, .text = "2 NaN"},
                     {.layer = 3, .head = 1, .text = "all zero"}};
  report.not_read = {hostile_name()};
  return report;
}

OperationsReport troubled_operations() {
  using Status = OperationOutcome::Status;
  OperationsReport report;
  const auto add = [&](Status status, std::string operation,
                       std::string message) {
    report.operations.push_back({.number = std::ssize(report.operations),
                                 .operation = std::move(operation),
                                 .layer = std::nullopt,
                                 .status = status,
                                 .compared = {},
                                 .message = std::move(message)});
  };
  add(Status::kEqual, "append", "");
  add(Status::kNotRecorded, "freeze", "");
  add(Status::kEqual, "insert", "rejected as recorded");
  add(Status::kDiffers, "insert", "");
  add(Status::kNotFailed, "insert_index", "the record says: no");
  add(Status::kRefused, "insert_starts", hostile_name());
  add(Status::kFailed, "?", "no such operation");
  add(Status::kNotRun, "set_end_index", "");
  report.operations[0].layer = 1;
  report.operations[0].compared = {
      {.object = "/trace/operations/0/result/layers/1/key",
       .compared = 96,
       .differing = 0,
       .first = ""}};
  report.operations[3].compared = {
      {.object = "/trace/operations/3/result/layers/0/key",
       .compared = 96,
       .differing = 2,
       .first = "row 0 position 3 head 1 dim 2: expected 1, found 2"},
      {.object = "/trace/operations/3/result/attention_mask",
       .compared = 0,
       .differing = 0,
       .first = "dtype: expected i64, found i32"}};
  report.broken = 3;
  report.final_state = {{.object = "/final/layers/0/key",
                         .compared = 0,
                         .differing = 0,
                         .first = "shape: expected [1], found [2]"}};
  return report;
}

}  // namespace kvtape::samples
