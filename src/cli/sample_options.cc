// The options of `kvtape sample`.
#include "cli/sample_options.h"

#include <array>
#include <limits>

#include "kvtape/attention.h"

namespace kvtape::cli {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::array<std::string_view, 3> kPaddings{"none", "left", "right"};
constexpr std::array<std::string_view, 4> kLayouts{"linear", "ring", "shift",
                                                   "growing"};
constexpr std::array<std::string_view, 2> kHeadMaps{"repeat", "tile"};
constexpr std::array<std::string_view, 3> kVisibilities{"causal", "mask",
                                                        "range"};
constexpr std::array<std::string_view, 3> kMaskedRows{"uniform", "zeros",
                                                      "nan"};
constexpr std::array<std::string_view, 3> kRotaries{"none", "half",
                                                    "interleaved"};
constexpr std::array<std::string_view, 4> kFloats{"f64", "f32", "f16", "bf16"};
constexpr std::array<std::string_view, 3> kQuantizations{"none", "8bit", "nf4"};
constexpr std::array<std::string_view, 2> kKeysIn{"trace", "cache"};

// A choice whose words stand in the order of the enumeration.
template <typename Enum>
void add_enum(CLI::App& app, const Flag& flag,
              std::span<const std::string_view> words, Enum& target) {
  add_choice(app, flag, words,
             [&target](std::size_t word) { target = static_cast<Enum>(word); });
}

void add_sizes(CLI::App& app, SampleCommand& command) {
  SampleOptions& sample = command.sample;
  add_number(app, {"--layers", "Layers (2).", "N"}, sample.layers, 1, kMost);
  add_number(app, {"--batch-size", "Rows of the batch (1).", "N"},
             sample.batch_size, 1, kMost);
  add_number(app, {"--query-heads", "Query heads (4).", "N"},
             sample.query_heads, 1, kMost);
  add_number(app, {"--key-heads", "Key and value heads (2).", "N"},
             sample.key_heads, 1, kMost);
  add_number(app, {"--head-dim", "Dimensions of keys and values (16).", "N"},
             command.head_dim, 1, kMost);
  add_number(app, {"--sequence-length", "Positions of the cache (32).", "N"},
             sample.sequence_length, 1, kMost);
  add_number(app, {"--prompt", "Tokens of the first step (8).", "N"},
             sample.prompt, 0, kMost);
  add_number(app, {"--steps", "Steps of one token after it (8).", "N"},
             sample.steps, 0, kMost);
  add_number(app, {"--seed", "Another seed gives other numbers (0).", "N"},
             command.seed, 0, kMost);
}

void add_more_sizes(CLI::App& app, SampleCommand& command) {
  SampleOptions& sample = command.sample;
  const std::string group = "More sizes";
  add_value(app,
            {"--batch-axes",
             "Several batch axes. Their product replaces --batch-size.", "A,B",
             group},
            [&sample](const std::string& text) {
              sample.batch_axes = number_list("--batch-axes", text);
            });
  add_number(app,
             {"--value-heads",
              "Value heads, where they are not as many as "
              "the key heads.",
              "N", group},
             sample.value_heads, 1, kMost);
  add_number(app, {"--key-dim", "Dimensions of keys.", "N", group},
             command.key_dim, 1, kMost);
  add_number(app, {"--value-dim", "Dimensions of values.", "N", group},
             command.value_dim, 1, kMost);
  add_number(app,
             {"--filled",
              "Positions filled before the first step. The default leaves "
              "room for the trace alone, and lets it go round the end of a "
              "ring.",
              "N", group},
             sample.filled, 0, kMost);
}

void add_attention(CLI::App& app, SampleOptions& sample) {
  const std::string group = "Attention";
  add_number(app,
             {"--window",
              "Positions that a token sees, itself among them; 0 is all of "
              "them. Also the extent of a ring or shifting cache.",
              "W", group},
             sample.window, 0, kMost);
  add_real(app, {"--softcap", "Cap of the logits; 0 is none.", "C", group},
           sample.logit_softcap);
  add_enum(app,
           {"--padding", "Where prompts of different lengths are padded.", "",
            group},
           kPaddings, sample.padding);
  add_enum(app, {"--layout", "How slots are used.", "", group}, kLayouts,
           sample.layout);
  add_enum(app, {"--head-map", "Which key head a query head uses.", "", group},
           kHeadMaps, sample.head_map);
  add_enum(app, {"--visibility", "Which slots a token sees.", "", group},
           kVisibilities, sample.visibility);
  add_enum(app,
           {"--masked-rows", "What a row that sees nothing gives.", "", group},
           kMaskedRows, sample.masked_rows);
  add_enum(app,
           {"--rotary",
            "Rotary embedding. Keys are stored before it, as TransformerLens "
            "does.",
            "", group},
           kRotaries, sample.rotary);
}

void add_storage(CLI::App& app, SampleCommand& command) {
  SampleOptions& sample = command.sample;
  const std::string group = "Storage";
  add_enum(app, {"--dtype", "Of keys and values (f32).", "", group}, kFloats,
           sample.dtype);
  add_enum(
      app,
      {"--quantization", "As EasyDeL quantizes keys and values.", "", group},
      kQuantizations, sample.quantization);
  add_number(
      app,
      {"--block-size", "Elements that share a scale in nf4 (64).", "N", group},
      sample.block_size, 1, kMost);
  add_text(app,
           {"--axes",
            "Memory order of keys and values. The default is "
            "batch,position,head,dim.",
            "ORDER", group},
           sample.axes);
  add_flag(app, {"--stacked", "One dataset for all layers.", "", group},
           sample.stacked);
  add_choice(app,
             {"--keys-in",
              "Where the keys of the trace are. With \"cache\" the cache is of "
              "after the trace and already holds them.",
              "", group},
             kKeysIn,
             [&sample](std::size_t word) { sample.keys_in_cache = word == 1; });
  add_flag(app, {"--no-trace", "Only a cache.", "", group}, command.no_trace);
  add_flag(
      app,
      {"--no-final", "Do not record the cache after the trace.", "", group},
      command.no_final);
  add_flag(app,
           {"--compress", "Write chunked, deflated datasets with checksums.",
            "", group},
           command.compress);
}

}  // namespace

SampleOptions sample_options(const SampleCommand& command) {
  SampleOptions options = command.sample;
  const std::int64_t head_dim = command.head_dim.value_or(options.key_dim);
  options.key_dim = command.key_dim.value_or(head_dim);
  options.value_dim = command.value_dim.value_or(head_dim);
  options.seed = static_cast<std::uint64_t>(command.seed);
  options.trace = !command.no_trace;
  options.final_state = !command.no_final;
  return options;
}

void declare_options(CLI::App& app, SampleCommand& command) {
  add_file(app, {.names = "OUT", .help = "The file to write.", .value = "OUT"},
           command.out);
  add_sizes(app, command);
  std::vector<std::string_view> names;
  for (const Flaw& flaw : flaws()) names.push_back(flaw.name);
  add_choice(
      app, {"--flaw", "Plant a fault that validate or replay must find."},
      names,
      [&command](std::size_t flaw) { command.flaw = flaws()[flaw].name; });
  add_force(app, command.force);
  add_quiet(app, command.common);
  add_more_sizes(app, command);
  add_attention(app, command.sample);
  add_storage(app, command);
}

}  // namespace kvtape::cli
