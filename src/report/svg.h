// A small writer of SVG: text with a fixed number of digits, so that the same
// picture is the same bytes anywhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kvtape {

struct Point {
  double x = 0;
  double y = 0;
};

/// A picture that grows; attributes are given as `stroke="#000" ...`.
struct Svg {
  int width = 0;
  int height = 0;
  std::string body;
};

/// Text made safe for XML: hidden characters shown as by printable().
std::string svg_escaped(std::string_view text);

/// The title is shown on hover.
void add_rect(Svg& svg, Point corner, Point size, std::string_view attributes,
              std::string_view title = {});
void add_line(Svg& svg, Point from, Point to, std::string_view attributes);
void add_text(Svg& svg, Point at, std::string_view text,
              std::string_view attributes = {});

/// A line through the points, with a title shown on hover.
void add_polyline(Svg& svg, const std::vector<Point>& points,
                  std::string_view title, std::string_view attributes);

/// The whole document, on white.
std::string svg_text(const Svg& svg, std::string_view title);

}  // namespace kvtape
