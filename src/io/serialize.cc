// Dicts are documents of JSON, or parts of them: to_dict and the writer, and
// from_dict and the reader, cannot disagree.
#include "kvtape/serialize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "io/json_reader.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

Tape tape_with(Cache cache) {
  Tape tape;
  tape.cache = std::move(cache);
  return tape;
}

// A part of the document of a tape, or an empty one where there is nothing.
Dict part_of(const Tape& tape, Encoding encoding, const char* pointer) {
  const Dict document = to_dict(tape, encoding);
  const Dict::json_pointer path(pointer);
  return document.contains(path) ? document.at(path) : Dict::object();
}

// W01 and W02: a key or an object that has no meaning.
bool is_unknown(const Finding& finding) {
  return finding.rule == "W01" || finding.rule == "W02";
}

// What a file may get wrong is an error here.
void refuse_findings(const Tape& tape, Keys keys) {
  for (const Finding& finding : tape.findings) {
    if (!is_unknown(finding))
      throw Error({.object = finding.object,
                   .field = finding.field,
                   .expected = finding.expected,
                   .found = finding.found,
                   .hint = finding.fix});
    if (keys == Keys::kStrict)
      throw Error({.object = finding.object,
                   .field = finding.field,
                   .text = "is unknown",
                   .hint = "Keys::kEasyDel ignores such keys"});
  }
}

Tape read_text(const std::string& text) {
  TextStream stream([at = std::size_t{0}, &text](std::span<char> out) mutable {
    const std::size_t count = std::min(out.size(), text.size() - at);
    std::memcpy(out.data(), text.data() + at, count);
    at += count;
    return count;
  });
  return read_json_tape(stream, nullptr).tape;
}

Tape tape_from(const Dict& document, Keys keys) {
  Tape tape = read_text(to_json(document));
  refuse_findings(tape, keys);
  if (keys == Keys::kEasyDel) tape.extras.clear();
  return tape;
}

// A document of nothing but one part.
Dict document_with(const char* key, const Dict& part) {
  Dict document{{"schema", "kvtape.dump/1"},
                {"format_version", 1},
                {"metadata", to_dict(CacheMetadata{})}};
  document[key] = part;
  return document;
}

Tape tape_from_part(const char* key, const Dict& part, Keys keys) {
  if (!part.is_object())
    throw Error({.object = std::string("/") + key,
                 .expected = "a dict",
                 .found = part.type_name()});
  return tape_from(document_with(key, part), keys);
}

// EasyDeL's class takes all of its fields; only documents may leave some out.
void refuse_missing(const Dict& record) {
  std::string missing;
  const Dict whole = to_dict(CacheMetadata{});
  for (const auto& [key, value] : whole.items())
    if (record.is_object() && !record.contains(key))
      missing += (missing.empty() ? "" : ", ") + key;
  if (missing.empty()) return;
  throw Error({.object = "/metadata",
               .expected = "all of its twelve fields",
               .found = "none named " + missing});
}

// Keys of the objects that are open, so that none stands twice.
class OpenKeys {
 public:
  bool take(int depth, Dict::parse_event_t event, const Dict& parsed) {
    constexpr int kDeepest = 64;
    if (depth > kDeepest)
      throw Error({.text = "no JSON of ours: more than 64 levels"});
    if (event == Dict::parse_event_t::object_start) keys_.emplace_back();
    if (event == Dict::parse_event_t::object_end) keys_.pop_back();
    if (event == Dict::parse_event_t::key &&
        !keys_.back().insert(parsed.get<std::string>()).second)
      throw Error(
          {.field = parsed.get<std::string>(), .text = "stands here twice"});
    return true;
  }

 private:
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

Dict parse_json(const std::string& text) {
  OpenKeys keys;
  try {
    return Dict::parse(text, [&keys](int depth, Dict::parse_event_t event,
                                     const Dict& parsed) {
      return keys.take(depth, event, parsed);
    });
  } catch (const Dict::parse_error& error) {
    throw Error(
        {.text = fmt::format("no JSON: an error at byte {}", error.byte)});
  } catch (const Dict::out_of_range&) {
    throw Error({.text = "no JSON of ours: a number that no f64 holds"});
  }
}

Dict to_dict(const Tape& tape, Encoding encoding) {
  std::string text;
  write_json(tape, {.encoding = encoding, .indent = 0, .threads = 1},
             [&](std::string_view part) { text += part; });
  return Dict::parse(text);
}

Dict to_dict(const Cache& cache, Encoding encoding) {
  return to_dict(tape_with(cache), encoding);
}

Dict to_dict(const CacheMetadata& metadata) {
  return part_of(tape_with({.metadata = metadata}), Encoding::kNone,
                 "/metadata");
}

Dict to_dict(const AttentionSpec& spec) {
  return part_of(tape_with({.attention = spec}), Encoding::kNone, "/attention");
}

Dict to_dict(const RotarySpec& spec) {
  return part_of(tape_with({.rotary = spec}), Encoding::kNumbers, "/rotary");
}

Dict to_dict(const LayerCache& layer, Encoding encoding) {
  return part_of(tape_with({.layers = {{0, layer}}}), encoding, "/layers/0");
}

Dict to_dict(const Trace& trace, Encoding encoding) {
  Tape tape;
  tape.trace = trace;
  return part_of(tape, encoding, "/trace");
}

template <>
CacheMetadata from_dict(const Dict& dict, Keys keys) {
  refuse_missing(dict);
  return tape_from_part("metadata", dict, keys).cache.metadata;
}

template <>
AttentionSpec from_dict(const Dict& dict, Keys keys) {
  return tape_from_part("attention", dict, keys).cache.attention;
}

template <>
RotarySpec from_dict(const Dict& dict, Keys keys) {
  return tape_from_part("rotary", dict, keys).cache.rotary;
}

template <>
LayerCache from_dict(const Dict& dict, Keys keys) {
  Tape tape = tape_from_part("layers", {{"0", dict}}, keys);
  return std::move(tape.cache.layers.at(0));
}

template <>
Trace from_dict(const Dict& dict, Keys keys) {
  return std::move(*tape_from_part("trace", dict, keys).trace);
}

template <>
Tape from_dict(const Dict& dict, Keys keys) {
  return tape_from(dict, keys);
}

template <>
Cache from_dict(const Dict& dict, Keys keys) {
  return std::move(tape_from(dict, keys).cache);
}

}  // namespace kvtape
