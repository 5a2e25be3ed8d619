// What a conversion did, as text and JSON.
#include "report/convert.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/json.h"
#include "report/numbers.h"
#include "report/text.h"

namespace kvtape {
namespace {

std::string dtype_text(const Tensor& tensor) {
  if (!tensor.quantized()) return std::string(name(tensor.dtype));
  const bool int8 = tensor.quantization.scheme == Quantization::Scheme::kInt8;
  return fmt::format("{} of {}", int8 ? "8bit" : "nf4", name(tensor.dtype));
}

// "/layers/2/key [0, 3, 1, 4]: 0.1 -> 0.0999756"
std::string element_text(const RoundedElement& element,
                         const TextStyle& style) {
  std::vector<std::string> index;
  for (const std::int64_t number : element.index)
    index.push_back(std::to_string(number));
  const auto [value, rounded] =
      value_pair(element.value, element.rounded, style.precision);
  return fmt::format("{} [{}]: {} -> {}", printable(element.object),
                     joined(index, ", "), value, rounded);
}

std::string rounding_text(const RoundingReport& rounding,
                          const TextStyle& style) {
  if (rounding.changed == 0)
    return fmt::format("  rounding    none of {} values changed\n",
                       count_text(rounding.values));
  std::string text =
      fmt::format("  rounding    {} of {} values changed",
                  count_text(rounding.changed), count_text(rounding.values));
  if (rounding.zero > 0)
    text += fmt::format(", {} became 0", count_text(rounding.zero));
  text += '\n';
  if (rounding.infinite > 0)
    text += fmt::format("  overflow    {} {} became infinite, first {}\n",
                        bad_mark(style), counted(rounding.infinite, "value"),
                        element_text(*rounding.infinite_at, style));
  if (!rounding.largest_at) return text;
  return text + fmt::format("  largest     {} at {}\n",
                            error_text(rounding.largest, style.precision),
                            element_text(*rounding.largest_at, style));
}

Json element_json(const std::optional<RoundedElement>& element) {
  if (!element) return {};
  return {{"object", element->object},
          {"index", element->index},
          {"value", json_number(element->value)},
          {"rounded", json_number(element->rounded)}};
}

Json rounding_json(const RoundingReport& rounding) {
  return {{"tensors", rounding.tensors},
          {"values", rounding.values},
          {"changed", rounding.changed},
          {"became_infinite", rounding.infinite},
          {"became_zero", rounding.zero},
          {"largest", json_number(rounding.largest)},
          {"largest_at", element_json(rounding.largest_at)},
          {"infinite_at", element_json(rounding.infinite_at)}};
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

}  // namespace

std::string dtypes_text(const Tape& tape) {
  std::vector<std::string> dtypes;
  for (const auto& [number, layer] : tape.cache.layers)
    for (const auto* tensor : {&layer.key, &layer.value})
      if (*tensor) {
        const std::string dtype = dtype_text(**tensor);
        if (std::find(dtypes.begin(), dtypes.end(), dtype) == dtypes.end())
          dtypes.push_back(dtype);
      }
  return joined(dtypes, ", ");
}

std::string convert_text(const ConvertReport& report, const TextStyle& style) {
  std::vector<std::string> parts{counted(report.layers, "layer")};
  if (report.from_dtypes == report.to_dtypes)
    parts.push_back(report.to_dtypes);
  else
    parts.push_back(report.from_dtypes + " -> " + report.to_dtypes);
  std::erase(parts, "");
  if (!report.axes.empty()) parts.push_back("axes " + report.axes);
  if (!report.set.empty()) parts.push_back("set " + report.set);
  parts.push_back(bytes_text(report.output_bytes));
  std::string text = fmt::format("wrote {}: {}\n", printable(report.output),
                                 printable(joined(parts)));
  if (report.rounding) text += rounding_text(*report.rounding, style);
  if (!report.left_out.empty())
    text +=
        fmt::format("  left out    {}\n", printable(joined(report.left_out)));
  if (style.verbosity > 0)
    text += fmt::format("  digests     {} of the input checked\n",
                        count_text(report.digests));
  return text;
}

std::string convert_json(const ConvertReport& report) {
  return json_text({
      {"schema", "kvtape.convert/1"},
      {"input", report.input},
      {"output", report.output},
      {"format", report.format},
      {"input_bytes", report.input_bytes},
      {"output_bytes", report.output_bytes},
      {"layers", report.layers},
      {"from_dtypes", report.from_dtypes},
      {"to_dtypes", report.to_dtypes},
      {"select", text_or_null(report.select)},
      {"axes", text_or_null(report.axes)},
      {"set", text_or_null(report.set)},
      {"rounding", report.rounding ? rounding_json(*report.rounding) : Json()},
      {"digests_checked", report.digests},
      {"left_out", report.left_out},
  });
}

}  // namespace kvtape
