// A small writer of SVG.
#include "report/svg.h"

#include <fmt/format.h>

#include "report/text.h"

namespace kvtape {
namespace {

std::string title_element(std::string_view title) {
  return title.empty() ? ""
                       : fmt::format("<title>{}</title>", svg_escaped(title));
}

}  // namespace

std::string svg_escaped(std::string_view text) {
  std::string out;
  for (const char character : printable(text)) {
    switch (character) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += character;
    }
  }
  return out;
}

void add_rect(Svg& svg, Point corner, Point size, std::string_view attributes,
              std::string_view title) {
  svg.body += fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
      "{}",
      corner.x, corner.y, size.x, size.y, attributes);
  svg.body += title.empty() ? "/>\n"
                            : fmt::format(">{}</rect>\n", title_element(title));
}

void add_line(Svg& svg, Point from, Point to, std::string_view attributes) {
  svg.body += fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n",
      from.x, from.y, to.x, to.y, attributes);
}

void add_text(Svg& svg, Point at, std::string_view text,
              std::string_view attributes) {
  svg.body +=
      fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}{}>{}</text>\n", at.x, at.y,
                  attributes.empty() ? "" : " ", attributes, svg_escaped(text));
}

void add_polyline(Svg& svg, const std::vector<Point>& points,
                  std::string_view title, std::string_view attributes) {
  std::string list;
  for (const Point& point : points) {
    list += fmt::format("{}{:.1f},{:.1f}", list.empty() ? "" : " ", point.x,
                        point.y);
  }
  svg.body += fmt::format("<polyline points=\"{}\" {}>{}</polyline>\n", list,
                          attributes, title_element(title));
}

std::string svg_text(const Svg& svg, std::string_view title) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" "
      "width=\"{0}\" height=\"{1}\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n{2}\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n{3}</svg>\n",
      svg.width, svg.height, title_element(title), svg.body);
}

}  // namespace kvtape
