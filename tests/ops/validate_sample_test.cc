// What `sample` makes is sound, and its flaws are found.
#include <catch2/catch.hpp>
#include <vector>

#include "kvtape/sample.h"
#include "kvtape/validate.h"

namespace kvtape {
namespace {

// Every line of findings, for the message of a failing test.
std::string text_of(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings)
    text += finding.rule + " " + finding.object + " " + finding.field +
            ": expected " + finding.expected + ", found " + finding.found +
            "\n";
  return text;
}

std::string findings_of(const SampleOptions& options) {
  return text_of(
      validate(make_sample(options), {.values = true, .threads = 2}).findings);
}

TEST_CASE("samples are sound, whatever their shape") {
  for (const Layout layout :
       {Layout::kLinear, Layout::kRing, Layout::kShift, Layout::kGrowing})
    for (const Padding padding :
         {Padding::kNone, Padding::kLeft, Padding::kRight})
      for (const bool keys_in_cache : {false, true}) {
        const bool cut = layout == Layout::kRing || layout == Layout::kShift;
        if (keys_in_cache && cut) continue;
        CAPTURE(name(layout), static_cast<int>(padding), keys_in_cache);
        CHECK(findings_of({.batch_size = 3,
                           .sequence_length = 40,
                           .window = cut ? 12 : 0,
                           .padding = padding,
                           .layout = layout,
                           .keys_in_cache = keys_in_cache}) == "");
      }
  // A window longer than the cache, as short dumps of Mistral have it.
  CHECK(findings_of({.sequence_length = 40, .window = 4096}) == "");
}

TEST_CASE("samples are sound, however they are stored") {
  for (const char* axes : {"batch,position,head,dim", "batch,head,position,dim",
                           "batch,dim,head,position", "batch,dim,position"})
    for (const DType dtype :
         {DType::kF64, DType::kF32, DType::kF16, DType::kBF16}) {
      CAPTURE(axes, name(dtype));
      const bool one_head = std::string_view(axes) == "batch,dim,position";
      CHECK(findings_of({.batch_axes = {2, 2},
                         .key_heads = one_head ? 1 : 2,
                         .dtype = dtype,
                         .axes = axes}) == "");
    }
  CHECK(findings_of({.stacked = true}) == "");
}

TEST_CASE("samples are sound, whatever their attention") {
  for (const Visibility visibility :
       {Visibility::kCausal, Visibility::kMask, Visibility::kRange})
    for (const RotaryStyle rotary :
         {RotaryStyle::kNone, RotaryStyle::kHalf, RotaryStyle::kInterleaved}) {
      CAPTURE(name(visibility), name(rotary));
      CHECK(findings_of({.visibility = visibility, .rotary = rotary}) == "");
    }
  CHECK(findings_of({.filled = 0, .padding = Padding::kLeft}) == "");
  CHECK(findings_of({.value_heads = 4, .trace = false}).find("E") ==
        std::string::npos);
}

TEST_CASE("the flaws that are said to be for validate are found by it") {
  int tried = 0;
  for (const Flaw& flaw : flaws()) {
    if (!flaw.found_by.starts_with("validate")) continue;
    CAPTURE(flaw.name);
    Tape tape = make_sample({.batch_size = 2});
    plant_flaw(tape, flaw.name);
    const bool values = flaw.found_by.find("--values") != flaw.found_by.npos;
    CHECK_FALSE(validate(tape, {.values = values}).findings.empty());
    ++tried;
  }
  CHECK(tried > 0);
}

}  // namespace
}  // namespace kvtape
