// What is inside a tape, as text.
#include "report/info.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "kvtape/sharding.h"
#include "report/findings.h"
#include "report/info_facts.h"
#include "report/info_layers.h"
#include "report/numbers.h"
#include "report/text.h"
#include "report/utf8.h"

namespace kvtape {
namespace {

constexpr int kLabel = 9;       // columns of the longest label
constexpr int kShortFact = 16;  // columns; longer ones get their own line
constexpr std::size_t kGridCells = 3;  // facts in one line
constexpr std::size_t kShownRuns = 4;  // of equal step lengths

struct Fact {
  std::string label;
  std::string text;
};

std::string number_or_unknown(const std::optional<std::int64_t>& number) {
  return number ? fmt::format("{}", *number) : "?";
}

std::string heads_text(const Cache& cache, const Dimensions& sizes) {
  const std::int64_t key = sizes.key_heads.value_or(0);
  const std::int64_t query = cache.attention.query_heads.value_or(key);
  if (query == key && sizes.value_heads == sizes.key_heads) {
    return number_or_unknown(sizes.key_heads);
  }
  const bool grouped = key > 0 && query % key == 0;
  std::string text = fmt::format("{} key", number_or_unknown(sizes.key_heads));
  if (sizes.value_heads != sizes.key_heads) {
    text += fmt::format(", {} value", number_or_unknown(sizes.value_heads));
  }
  text += fmt::format(", {} query", query);
  if (grouped) text += fmt::format(" (group {})", query / key);
  return text;
}

std::string dims_text(const Dimensions& sizes) {
  std::string key = number_or_unknown(sizes.key_dim);
  if (sizes.key_dim == sizes.value_dim) return key;
  return fmt::format("{} key, {} value", key,
                     number_or_unknown(sizes.value_dim));
}

std::string layers_text(const Cache& cache) {
  const std::int64_t announced = cache.metadata.num_hidden_layers;
  const std::int64_t present = std::ssize(cache.layers);
  if (present == announced) return fmt::format("{}", present);
  return fmt::format("{} of {}", present, announced);
}

// "512 of 1024", "5-9 of 16" where rows or layers differ.
std::string positions_text(const Cache& cache) {
  std::vector<std::int64_t> filled;
  for (const auto& [number, layer] : cache.layers) {
    const auto index = readable_integers(layer.index);
    if (index) filled.insert(filled.end(), index->begin(), index->end());
  }
  const std::int64_t capacity = cache.metadata.sequence_length;
  if (filled.empty()) return fmt::format("? of {}", capacity);
  return fmt::format("{} of {}", span_text(filled), capacity);
}

std::vector<Fact> cache_facts(const Tape& tape) {
  const Cache& cache = tape.cache;
  const Dimensions sizes = dimensions(cache);
  std::vector<Fact> facts{
      {"model", printable(tape.model)},
      {"source", printable(tape.source)},
      {"producer", printable(tape.producer)},
      {"layers", layers_text(cache)},
      {"positions", positions_text(cache)},
      {"batch", fmt::format("{}", cache.metadata.batch_size)},
      {"heads", heads_text(cache, sizes)},
      {"head dim", dims_text(sizes)},
      {"dtype", dtypes_text(cache)},
      {"axes", axes_text(cache)},
      {"stored", storage_text(cache)}};
  std::erase_if(facts, [](const Fact& fact) { return fact.text.empty(); });
  return facts;
}

// "32 query heads, scale 0.125; by default causal visibility, ...".
std::string settings_text(const std::vector<Setting>& settings) {
  std::vector<std::string> said;
  std::vector<std::string> defaults;
  for (const Setting& setting : settings) {
    (setting.said ? said : defaults).push_back(setting.text);
  }
  std::string text = joined(said);
  if (!text.empty() && !defaults.empty()) text += "; ";
  return text + (defaults.empty() ? "" : "by default " + joined(defaults));
}

std::string masks_text(const Cache& cache) {
  std::vector<std::string> parts;
  if (cache.attention_mask) {
    parts.push_back("attention_mask " + tensor_text(*cache.attention_mask));
  }
  if (cache.tokens) parts.push_back("tokens " + tensor_text(*cache.tokens));
  return joined(parts);
}

// "12, 127 x 1": runs of equal numbers.
std::string runs_text(const std::vector<std::int64_t>& numbers) {
  std::vector<std::string> runs;
  for (auto at = numbers.begin(); at != numbers.end();) {
    if (runs.size() == kShownRuns) {
      runs.push_back("...");
      break;
    }
    const auto end = std::find_if(at, numbers.end(),
                                  [&](auto number) { return number != *at; });
    const auto count = std::distance(at, end);
    runs.push_back(count == 1 ? fmt::format("{}", *at)
                              : fmt::format("{} x {}", count, *at));
    at = end;
  }
  return joined(runs);
}

// "query, key, output (1 of 2 layers)": what the layers of a trace hold.
std::vector<std::string> recorded(const Trace& trace) {
  struct Part {
    std::string_view name;
    std::optional<Tensor> LayerTrace::*member;
  };
  constexpr Part kParts[] = {{"query", &LayerTrace::query},
                             {"key", &LayerTrace::key},
                             {"value", &LayerTrace::value},
                             {"output", &LayerTrace::output},
                             {"masks by layer", &LayerTrace::attention_mask},
                             {"starts by layer", &LayerTrace::start_index}};
  std::vector<std::string> names;
  const std::int64_t layers = std::ssize(trace.layers);
  for (const Part& part : kParts) {
    const auto count = std::count_if(
        trace.layers.begin(), trace.layers.end(),
        [&](const auto& item) { return (item.second.*part.member); });
    if (count == 0) continue;
    names.push_back(count == layers ? std::string(part.name)
                                    : fmt::format("{} ({} of {} layers)",
                                                  part.name, count, layers));
  }
  if (trace.attention_mask) names.push_back("attention mask");
  if (trace.token_mask) names.push_back("token mask");
  if (trace.positions) names.push_back("positions");
  if (trace.start_index) names.push_back("start index");
  return names;
}

std::string steps_text(const Trace& trace) {
  const auto lengths = readable_integers(trace.step_lengths);
  if (!lengths) return "? steps";
  std::int64_t tokens = 0;
  for (const std::int64_t length : *lengths) {
    if (__builtin_add_overflow(tokens, length, &tokens)) return "? steps";
  }
  return fmt::format("{} of {} ({})", counted(std::ssize(*lengths), "step"),
                     counted(tokens, "token"), runs_text(*lengths));
}

std::string trace_text(const Trace& trace) {
  const bool in_cache = trace.keys_in == Trace::KeysIn::kCache;
  return fmt::format("{}, {}: {}{}", steps_text(trace),
                     counted(std::ssize(trace.layers), "layer"),
                     joined(recorded(trace)),
                     in_cache ? "; keys are in the cache" : "");
}

// "7 operations: append (3), append_attention_mask (3), freeze".
std::string operations_text(const OperationLog& operations) {
  std::map<std::string_view, std::int64_t> counts;
  for (const auto& [number, operation] : operations)
    ++counts[operation.kind ? name(*operation.kind) : "?"];
  std::vector<std::string> parts;
  for (const auto& [word, count] : counts)
    parts.push_back(count == 1 ? std::string(word)
                               : fmt::format("{} ({})", word, count));
  return counted(std::ssize(operations), "operation") + ": " + joined(parts);
}

std::string log_text(const std::optional<Trace>& trace) {
  if (!trace || trace->operations.empty()) return "";
  return operations_text(trace->operations);
}

// "1 of 4 parts: head 1/4".
std::string shard_text(const Cache& cache) {
  const auto factors = shard_factors(cache);
  if (!factors) return "";
  std::vector<std::string> parts;
  for (const auto& [axis, count] :
       {std::pair("batch", factors->batch),
        std::pair("position", factors->position),
        std::pair("head", factors->head), std::pair("dim", factors->dim)})
    if (count > 1) parts.push_back(fmt::format("{} 1/{}", axis, count));
  return fmt::format("perhaps one of {} parts: {}", factors->parts(),
                     joined(parts));
}

std::string final_text(const FinalState& state) {
  return counted(std::ssize(state.layers), "layer") +
         (state.attention_mask ? ", attention mask" : "");
}

std::string extras_text(const Tape& tape, const TextStyle& style) {
  const ExtraCounts counts = count_extras(tape);
  std::vector<std::string> parts;
  if (counts.weights > 0) parts.push_back(counted(counts.weights, "weight"));
  if (counts.others > 0) {
    parts.push_back(counted(counts.others, "other") +
                    (style.verbosity > 0 ? "" : " (-v for their names)"));
  }
  return joined(parts);
}

std::string reader_text(const NamedTape& named, const TextStyle& style) {
  if (named.tape.findings.empty()) return "";
  return fmt::format("{} by the reader; see kvtape validate {}",
                     findings_verdict(named.tape.findings, style),
                     printable(named.file));
}

std::vector<Fact> further_facts(const NamedTape& named,
                                const TextStyle& style) {
  const Tape& tape = named.tape;
  const Dimensions sizes = dimensions(tape.cache);
  std::vector<Fact> facts{
      {"attention", settings_text(settings(tape.cache.attention, sizes))},
      {"rotary", settings_text(settings(tape.cache.rotary, sizes))},
      {"padding", padding_text(tape.cache)},
      {"masks", masks_text(tape.cache)},
      {"trace", tape.trace && !has_only_operations(*tape.trace)
                    ? trace_text(*tape.trace)
                    : ""},
      {"log", log_text(tape.trace)},
      {"shard", shard_text(tape.cache)},
      {"final", tape.final_state ? final_text(*tape.final_state) : ""},
      {"also", extras_text(tape, style)},
      {"findings", reader_text(named, style)}};
  std::erase_if(facts, [](const Fact& fact) { return fact.text.empty(); });
  return facts;
}

// Short facts side by side, then one line for each of the long ones.
std::string facts_text(const std::vector<Fact>& facts,
                       const std::vector<Fact>& further) {
  constexpr std::size_t kCells = 2 * kGridCells;
  Table grid{.columns = std::vector<Column>(kCells), .rows = {{}}};
  Table list{.columns = {{}, {}}, .rows = {}};
  for (const Fact& fact : facts) {
    const std::string label = fmt::format("{:{}}", fact.label, kLabel);
    if (display_width(fact.text) > kShortFact) {
      list.rows.push_back({label, fact.text});
      continue;
    }
    if (grid.rows.back().size() == kCells) grid.rows.push_back({});
    grid.rows.back().insert(grid.rows.back().end(), {label, fact.text});
  }
  for (const Fact& fact : further) {
    list.rows.push_back({fmt::format("{:{}}", fact.label, kLabel), fact.text});
  }
  return table_text(grid) + table_text(list);
}

std::string extras_list(const Tape& tape, const TextStyle& style) {
  if (style.verbosity == 0 || tape.extras.empty()) return "";
  Table table{.columns = {{"further objects"}, {""}}, .rows = {}};
  for (const Extra& extra : tape.extras) {
    table.rows.push_back(
        {printable(extra.path),
         extra.tensor ? tensor_text(*extra.tensor)
                      : counted(std::ssize(extra.attributes), "attribute")});
  }
  return '\n' + table_text(table);
}

}  // namespace

std::string info_text(const NamedTape& named, const TextStyle& style) {
  return fmt::format(
      "{}  kvtape 1 ({})  {}\n{}{}{}",
      colored(style, Color::kBold, printable(named.file)), named.file_format,
      bytes_text(named.file_bytes),
      facts_text(cache_facts(named.tape), further_facts(named, style)),
      layer_table(named.tape.cache, style), extras_list(named.tape, style));
}

}  // namespace kvtape
