// Replay against what the real systems' code gave: testdata/goldens/*.h5
// (testdata/goldens/README.md).
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "kvtape/io.h"
#include "kvtape/replay.h"

namespace kvtape {
namespace {

std::vector<std::filesystem::path> golden_files() {
  const char* testdata = std::getenv("KVTAPE_TESTDATA");
  REQUIRE(testdata != nullptr);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(testdata) / "goldens"))
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

bool has(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

double largest_output(const Tape& tape) {
  double largest = 0;
  for (const auto& [number, layer] : tape.trace->layers)
    for (double value : doubles(*layer.output))
      largest = std::max(largest, std::fabs(value));
  return largest;
}

// penzai computes in bfloat16 where it stores it; all others were computed in
// higher precision from what is stored.
double allowed(const std::string& name, const Tape& tape) {
  return has(name, "bfloat16") ? 0.12 : 1e-6 * largest_output(tape);
}

std::size_t final_parts(const std::string& name) {
  if (has(name, "-dumped") || has(name, "frozen")) return 0;
  if (has(name, "penzai")) return 4;
  return has(name, "easydel") ? 3 : 2;
}

void check_refused(const Tape& tape) {
  const ReplayReport report = replay(tape);
  REQUIRE_FALSE(report.findings.empty());
  for (const Finding& finding : report.findings) {
    CHECK(finding.rule == "E90");
    CHECK(has(finding.object, "/trace/layers/"));
    CHECK(has(finding.found, "clamped to"));
    CHECK(finding.fix == "--mode faithful reproduces it");
  }
  CHECK_FALSE(report.not_compared.empty());
  CHECK_FALSE(report.success());
}

TEST_CASE("the goldens are reproduced") {
  const auto files = golden_files();
  CHECK(files.size() == 37);
  double worst = 0;
  for (const auto& path : files) {
    const std::string name = path.filename().string();
    CAPTURE(name);
    const Tape tape = read_tape(path.string());
    CHECK(tape.findings.empty());
    const bool clamped = has(name, ".faithful.");
    if (clamped) check_refused(tape);
    const double atol = allowed(name, tape);
    const ReplayReport report =
        replay(tape, {.mode = clamped ? ReplayOptions::Mode::kFaithful
                                      : ReplayOptions::Mode::kChecked,
                      .atol = atol});
    CHECK(report.success());
    REQUIRE(report.worst);
    CHECK(report.worst->abs_error <= atol);
    CHECK(report.final_state.size() == final_parts(name));
    for (const FinalComparison& part : report.final_state) {
      CAPTURE(part.object, part.first);
      CHECK(part.compared > 0);
      CHECK(part.differing == 0);
    }
    if (!has(name, "bfloat16"))
      worst = std::max(worst, report.worst->abs_error / largest_output(tape));
  }
  // Printed with -s: how far the kernels are from the goldens.
  INFO("worst error relative to the largest output: " << worst);
  CHECK(worst <= 1e-6);
}

TEST_CASE("an error planted in a golden is found where it is") {
  for (const auto& path : golden_files()) {
    const std::string name = path.filename().string();
    CAPTURE(name);
    Tape tape = read_tape(path.string());
    auto& [number, layer] = *tape.trace->layers.rbegin();
    const Tensor& output = *layer.output;
    // The last element: row, token, head and dim are all the last.
    const auto old = output.source->bytes();
    std::vector<std::byte> bytes(old.begin(), old.end());
    bytes.back() ^= std::byte{0x40};
    layer.output = make_tensor(output.dtype, output.axes, std::move(bytes));
    const ReplayReport report = replay(
        tape,
        {.mode = ReplayOptions::Mode::kFaithful, .atol = allowed(name, tape)});
    REQUIRE(report.first);
    CHECK(report.out_of_tolerance == 1);
    CHECK(report.first->layer == number);
    CHECK(report.first->step == report.steps - 1);
    CHECK(report.first->token == extent(output, AxisKind::kToken) - 1);
    CHECK(report.first->row == extent(output, AxisKind::kBatch) - 1);
    CHECK(report.first->head == extent(output, AxisKind::kHead) - 1);
    CHECK(report.first->dim == extent(output, AxisKind::kDim) - 1);
  }
}

}  // namespace
}  // namespace kvtape
