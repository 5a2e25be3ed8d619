// No text depends on the locale.
#include <catch2/catch.hpp>
#include <locale>

#include "report/replay.h"
#include "samples.h"

namespace kvtape {
namespace {

/// Numbers as nobody writes them; no locale has to be installed for it.
class Strange : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '\''; }
  std::string do_grouping() const override { return "\1"; }
  std::string do_truename() const override { return "oui"; }
};

std::string everything() {
  const ReplayReport replay = samples::troubled_replay();
  return info_text(samples::tape(), {}) + info_json({samples::tape()}) +
         validation_text(samples::unsound(), {}, 0) +
         validation_json({samples::unsound()}) + replay_text(replay, "a", {}) +
         replay_json(replay, "a") + replay_svg(replay, "a");
}

TEST_CASE("texts do not depend on the locale") {
  const std::string usual = everything();
  const std::locale before =
      std::locale::global(std::locale(std::locale::classic(), new Strange));
  const std::string strange = everything();
  std::locale::global(before);
  CHECK(strange == usual);
}

}  // namespace
}  // namespace kvtape
