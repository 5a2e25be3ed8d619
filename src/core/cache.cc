#include "kvtape/cache.h"

#include "core/names.h"

namespace kvtape {
namespace {

constexpr Words<Layout, 4> kLayouts{{{Layout::kLinear, "linear"},
                                     {Layout::kRing, "ring"},
                                     {Layout::kShift, "shift"},
                                     {Layout::kGrowing, "growing"}}};

}  // namespace

std::string_view name(Layout value) { return word_of(kLayouts, value); }
std::optional<Layout> layout_from_name(std::string_view text) {
  return value_of(kLayouts, text);
}

}  // namespace kvtape
