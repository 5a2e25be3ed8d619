// JSON out: our own writer over nlohmann's ordered values.
#include "report/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/numbers.h"
#include "report/utf8.h"

namespace kvtape {
namespace {

// "\u00e9", above the basic plane as two surrogates.
std::string unicode_escape(char32_t character) {
  const auto value = static_cast<std::uint32_t>(character);
  if (value < 0x10000) return fmt::format("\\u{:04x}", value);
  const std::uint32_t above = value - 0x10000;
  return fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (above >> 10),
                     0xDC00 + (above & 0x3FF));
}

void append_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const Character next = first_character(text);
    if (!next.valid) {
      out += "\\ufffd";
    } else if (next.value == '"' || next.value == '\\') {
      out += '\\';
      out += text[0];
    } else if (next.value == '\n') {
      out += "\\n";
    } else if (is_hidden(next.value)) {
      out += unicode_escape(next.value);
    } else {
      out += text.substr(0, next.bytes);
    }
    text.remove_prefix(next.bytes);
  }
  out += '"';
}

void append_scalar(std::string& out, const Json& value) {
  if (value.is_string()) {
    append_string(out, value.get_ref<const std::string&>());
  } else if (value.is_number_float()) {
    out += shortest_text(value.get<double>());
  } else {
    out += value.dump();
  }
}

// Lists and objects that hold no other stand in one line, the others over
// several.
bool is_flat(const Json& value) {
  return std::none_of(value.begin(), value.end(),
                      [](const Json& item) { return item.is_structured(); });
}

void append(std::string& out, const Json& value, std::size_t indent) {
  if (!value.is_structured()) return append_scalar(out, value);
  const bool flat = is_flat(value);
  const std::string line = '\n' + std::string(indent + 2, ' ');
  const std::string between = flat ? ", " : "," + line;
  out += value.is_object() ? '{' : '[';
  if (!flat) out += line;
  bool first = true;
  for (const auto& item : value.items()) {
    if (!first) out += between;
    first = false;
    if (value.is_object()) {
      append_string(out, item.key());
      out += ": ";
    }
    append(out, item.value(), indent + 2);
  }
  if (!flat) out += '\n' + std::string(indent, ' ');
  out += value.is_object() ? '}' : ']';
}

Json finding_json(const Finding& finding) {
  const bool error = finding.severity() == Severity::kError;
  return {{"rule", finding.rule},
          {"severity", error ? "error" : "warning"},
          {"object", finding.object},
          {"field", finding.field},
          {"expected", finding.expected},
          {"found", finding.found},
          {"fix", finding.fix}};
}

}  // namespace

Json json_number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nonfinite_text(value));
}

Json metadata_json(const CacheMetadata& said) {
  return {{"batch_size", said.batch_size},
          {"sequence_length", said.sequence_length},
          {"num_hidden_layers", said.num_hidden_layers},
          {"pad_token_id", json_optional(said.pad_token_id)},
          {"num_heads", json_optional(said.num_heads)},
          {"head_dim", json_optional(said.head_dim)},
          {"key_heads", json_optional(said.key_heads)},
          {"value_heads", json_optional(said.value_heads)},
          {"key_dim", json_optional(said.key_dim)},
          {"value_dim", json_optional(said.value_dim)},
          {"update_causal_mask", said.update_causal_mask},
          {"create_attention_bias", said.create_attention_bias}};
}

Json findings_json(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings) {
    list.push_back(finding_json(finding));
  }
  return list;
}

std::string json_text(const Json& value) {
  std::string out;
  append(out, value, 0);
  return out + '\n';
}

}  // namespace kvtape
