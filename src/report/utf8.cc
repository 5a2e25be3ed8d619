// UTF-8 read one character at a time, and what a terminal makes of it.
#include "report/utf8.h"

#include <algorithm>
#include <array>
#include <span>

namespace kvtape {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

constexpr std::array kHidden{
    Range{0x0000, 0x001F}, Range{0x007F, 0x009F}, Range{0x061C, 0x061C},
    Range{0x200E, 0x200F}, Range{0x2028, 0x202E}, Range{0x2066, 0x2069},
    Range{0xFDD0, 0xFDEF}, Range{0xFEFF, 0xFEFF}, Range{0xE0000, 0xE007F},
};

constexpr std::array kCombining{
    Range{0x0300, 0x036F}, Range{0x0483, 0x0489}, Range{0x0591, 0x05BD},
    Range{0x0610, 0x061A}, Range{0x064B, 0x065F}, Range{0x0E34, 0x0E3A},
    Range{0x0E47, 0x0E4E}, Range{0x1AB0, 0x1AFF}, Range{0x1DC0, 0x1DFF},
    Range{0x200B, 0x200D}, Range{0x20D0, 0x20FF}, Range{0x302A, 0x302D},
    Range{0xFE00, 0xFE0F}, Range{0xFE20, 0xFE2F},
};

constexpr std::array kWide{
    Range{0x1100, 0x115F},   Range{0x2329, 0x232A},   Range{0x2E80, 0x303E},
    Range{0x3040, 0xA4CF},   Range{0xAC00, 0xD7A3},   Range{0xF900, 0xFAFF},
    Range{0xFE10, 0xFE19},   Range{0xFE30, 0xFE6F},   Range{0xFF00, 0xFF60},
    Range{0xFFE0, 0xFFE6},   Range{0x1F300, 0x1F64F}, Range{0x1F900, 0x1F9FF},
    Range{0x20000, 0x3FFFD},
};

bool is_in(std::span<const Range> ranges, char32_t character) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const Range& range) {
    return range.first <= character && character <= range.last;
  });
}

char32_t byte_at(std::string_view text, std::size_t offset) {
  return static_cast<unsigned char>(text[offset]);
}

// Length that a leading byte announces; 0 where it leads nothing.
std::size_t announced_bytes(char32_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

bool is_scalar_of_length(char32_t value, std::size_t bytes) {
  constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  return value >= kLeast[bytes] && value <= 0x10FFFF && !surrogate;
}

// Bytes of the colour sequence that `text` begins with, 0 if with none.
std::size_t color_sequence(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  const std::size_t end = text.find_first_not_of("0123456789;", 2);
  return end != text.npos && text[end] == 'm' ? end + 1 : 0;
}

}  // namespace

Character first_character(std::string_view text) {
  const char32_t lead = byte_at(text, 0);
  const Character invalid{.value = lead};
  const std::size_t bytes = announced_bytes(lead);
  if (bytes == 1) return {.value = lead, .bytes = 1, .valid = true};
  if (bytes == 0 || bytes > text.size()) return invalid;
  char32_t value = lead & (0x7Fu >> bytes);
  for (std::size_t offset = 1; offset < bytes; ++offset) {
    const char32_t next = byte_at(text, offset);
    if ((next & 0xC0u) != 0x80u) return invalid;
    value = (value << 6) | (next & 0x3Fu);
  }
  if (!is_scalar_of_length(value, bytes)) return invalid;
  return {.value = value, .bytes = bytes, .valid = true};
}

bool is_hidden(char32_t character) {
  return is_in(kHidden, character) || (character & 0xFFFEu) == 0xFFFEu;
}

int column_width(char32_t character) {
  if (character < 0x300) return 1;
  if (is_in(kCombining, character)) return 0;
  return is_in(kWide, character) ? 2 : 1;
}

int display_width(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    if (const std::size_t bytes = color_sequence(text); bytes > 0) {
      text.remove_prefix(bytes);
      continue;
    }
    const Character next = first_character(text);
    width += column_width(next.value);
    text.remove_prefix(next.bytes);
  }
  return width;
}

}  // namespace kvtape
