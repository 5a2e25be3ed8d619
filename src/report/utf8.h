// UTF-8 read one character at a time, and what a terminal makes of it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kvtape {

struct Character {
  char32_t value = 0;     // the byte itself where it is not valid
  std::size_t bytes = 1;  // how many of the text it takes
  bool valid = false;     // well-formed, shortest form, no surrogate
};

/// The first character of `text`, which must not be empty.
Character first_character(std::string_view text);

/// Whether a character does something to a terminal or to its neighbours
/// instead of being seen: controls (C0, DEL, C1), marks of direction, line and
/// paragraph separators, byte order mark, tags, and what is no character.
bool is_hidden(char32_t character);

/// Columns of a visible character: 0 where it combines with the one before
/// it, 2 for East Asian wide ones and pictures.
int column_width(char32_t character);

/// Columns of a text; colour sequences (ESC [ ... m) take none.
int display_width(std::string_view text);

}  // namespace kvtape
