// How text for people looks: colour, characters, detail.
#pragma once

namespace kvtape {

struct TextStyle {
  bool color = false;    // escape sequences; never the only carrier of meaning
  bool unicode = false;  // block characters; else ` .:-=+*#%@`
  int width = 80;        // columns, where lines are cut or bars are drawn
  int verbosity = 0;     // 1: -v, 2: -vv
  int precision = 3;     // significant digits
};

}  // namespace kvtape
