// kvtape convert: caches in another file format, dtype, order or size.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <memory>

#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "io/list_text.h"
#include "kvtape/io.h"
#include "kvtape/json.h"
#include "kvtape/systems.h"
#include "kvtape/transform.h"
#include "report/convert.h"
#include "report/numbers.h"
#include "report/text.h"

namespace kvtape::cli {
namespace {

constexpr std::array<std::string_view, 4> kFloats{"f64", "f32", "f16", "bf16"};
constexpr std::array<std::string_view, 3> kSystems{"easydel", "penzai",
                                                   "transformer_lens"};
constexpr std::array<std::string_view, 2> kFormats{"hdf5", "json"};
constexpr std::array<std::string_view, 2> kEncodings{"numbers", "base64"};
constexpr const char* kForm = "Form";  // options that few need
constexpr std::array<std::string_view, 2> kOverflows{"refuse", "infinity"};

struct ConvertCommand {
  std::string in;
  std::string out;
  std::string format;  // one of kFormats, or empty
  std::string select;
  std::string axes;
  std::string set;
  std::optional<DType> dtype;
  bool infinity = false;  // --overflow
  std::string encoding;
  std::optional<std::int64_t> indent;
  bool compress = false;
  std::optional<std::int64_t> level;
  bool no_trace = false;
  std::optional<System> system;  // --to
  bool lossy = false;
  bool unstack = false;
  bool skip_invalid = false;
  bool force = false;
  Common common;
};

// ---- where it goes

bool to_stdout(const ConvertCommand& command) {
  return command.out == kStandardOutput;
}

// By the name of the output, where nothing is said.
bool to_json(const ConvertCommand& command) {
  if (!command.format.empty()) return command.format == "json";
  for (const char* other : {".csv", ".ndjson", ".npy", ".npz", ".txt"})
    if (command.out.ends_with(other))
      throw Error({.file = command.out,
                   .text = "is no name of a cache in HDF5 or JSON",
                   .hint = "name it .h5 or .json, or say --to-format"});
  return to_stdout(command) || command.out.ends_with(".json");
}

void refuse_with(bool given, const std::string& option,
                 const std::string& other) {
  if (given) throw Error({.text = option + " has no meaning with " + other});
}

void check_options(const ConvertCommand& command) {
  const bool json = to_json(command);
  refuse_with(json && command.compress, "--compress", "output in JSON");
  refuse_with(json && command.level, "--level", "output in JSON");
  refuse_with(!json && !command.encoding.empty(), "--encoding",
              "output in HDF5");
  refuse_with(!json && command.indent, "--indent", "output in HDF5");
  if (command.lossy && !command.system)
    throw Error({.text = "--lossy is for --to"});
  if (command.infinity && !command.dtype)
    throw Error({.text = "--overflow is for --dtype"});
  if (to_stdout(command) && command.common.json)
    throw Error({.text = "OUT - and --json both ask for standard output"});
}

// ---- what becomes of it

Selection selection_of(const ConvertCommand& command) {
  if (command.select.empty()) return {};
  Selection selection = parse_selection(command.select);
  if (selection.kind)
    refuse_value("--select", "layer, row, head or position",
                 fmt::format("kind={}", name(*selection.kind)),
                 "a cache has keys and values; select layers, rows, heads or "
                 "positions of both");
  return selection;
}

// What is the same whether tensors are cut or not is done first, so that
// digests can be checked on whole tensors.
struct Converted {
  Tape whole;  // the selected layers, as they were read
  Tape tape;
  std::vector<std::string> left_out;
};

Converted converted(const ConvertCommand& command, Tape tape) {
  Selection selection = selection_of(command);
  if (command.no_trace) tape = without_trace(tape);
  Cut layers = kvtape::select(tape, {.layer = selection.layer});
  selection.layer.reset();
  Converted result{.whole = layers.tape,
                   .tape = std::move(layers.tape),
                   .left_out = std::move(layers.left_out)};
  if (command.dtype) result.tape = dequantized(result.tape);
  if (command.unstack) result.tape = unstacked(result.tape);
  if (!selection.whole()) {
    Cut cut = kvtape::select(result.tape, selection);
    result.tape = std::move(cut.tape);
    for (std::string& path : cut.left_out)
      result.left_out.push_back(std::move(path));
  }
  if (command.system) {
    SystemConversion done =
        as_system(result.tape, *command.system, command.lossy);
    result.tape = std::move(done.tape);
    for (std::string& lost : done.lost)
      result.left_out.push_back(std::move(lost));
  }
  return result;
}

std::int64_t size_of(const std::string& path) {
  std::error_code ignored;
  const auto bytes = std::filesystem::file_size(path, ignored);
  return ignored ? 0 : static_cast<std::int64_t>(bytes);
}

// Tensors that are written to HDF5 as they were read are checked on the way.
std::int64_t checked_digests(const ConvertCommand& command,
                             const Converted& converted) {
  const Selection selection = selection_of(command);
  if (selection.row || selection.head || selection.position)
    return count_digests(converted.tape);
  const bool same = !to_json(command) && !command.dtype &&
                    command.axes.empty() && !command.unstack && !command.system;
  return same ? count_digests(converted.whole)
              : check_digests(converted.whole,
                              static_cast<int>(command.common.threads));
}

void check_overflow(const RoundingReport& rounding, DType dtype) {
  if (rounding.infinite == 0) return;
  const RoundedElement& first = *rounding.infinite_at;
  throw Error({.object = first.object,
               .field = list_text(first.index),
               .expected = fmt::format("a number that {} holds", name(dtype)),
               .found = shortest_text(first.value),
               .hint = fmt::format(
                   "{} would become infinite: --overflow infinity writes them "
                   "so, --dtype bf16 has the range of f32",
                   counted(rounding.infinite, "value"))});
}

RoundingReport round(const ConvertCommand& command, Tape& tape,
                     ProgressLine& line) {
  RoundingReport report =
      rounding(tape, *command.dtype,
               {.threads = static_cast<int>(command.common.threads),
                .progress = line.callback()});
  if (!command.infinity) check_overflow(report, *command.dtype);
  tape = with_dtype(tape, *command.dtype);
  return report;
}

// Returns how many bytes there are.
std::int64_t write_document(const ConvertCommand& command, const Tape& tape,
                            ProgressLine& line) {
  const Encoding encoding = command.encoding.empty()
                                ? Encoding::kNumbers
                                : *encoding_from_name(command.encoding);
  TextOutput out(command.out, command.force, {command.in});
  std::int64_t bytes = 0;
  write_json(tape,
             {.encoding = encoding,
              .indent = static_cast<int>(command.indent.value_or(2)),
              .threads = static_cast<int>(command.common.threads),
              .progress = line.callback()},
             [&](std::string_view text) {
               out.write(text);
               bytes += std::ssize(text);
             });
  out.commit();
  return bytes;
}

std::int64_t write(const ConvertCommand& command, const Tape& tape,
                   ProgressLine& line) {
  if (to_json(command)) return write_document(command, tape, line);
  const WriteOptions options{
      .force = command.force,
      .compress = command.compress || command.level,
      .level = static_cast<int>(command.level.value_or(1)),
      .threads = static_cast<int>(command.common.threads),
      .progress = line.callback()};
  if (!to_stdout(command)) {
    write_tape(tape, command.out, options);
    return size_of(command.out);
  }
  std::int64_t bytes = 0;
  write_tape(
      tape,
      [&bytes](std::string_view text) {
        write_stdout(text);
        bytes += std::ssize(text);
      },
      options);
  return bytes;
}

// What the reader could not make sense of would be lost.
std::vector<std::string> check_findings(const ConvertCommand& command,
                                        const Tape& tape) {
  std::vector<std::string> left_out;
  for (const Finding& finding : tape.findings) {
    if (finding.severity() != Severity::kError) continue;
    if (!command.skip_invalid)
      throw Error({.object = finding.object,
                   .field = finding.field,
                   .expected = finding.expected,
                   .found = finding.found,
                   .hint = "kvtape validate tells all that is wrong; "
                           "--skip-invalid converts the rest"});
    left_out.push_back(finding.object + " " + finding.field);
  }
  if (!command.skip_invalid) check_edited(tape);
  return left_out;
}

ConvertReport report_of(const ConvertCommand& command, ProgressLine& line) {
  const TapeFile file = open_tape(command.in);
  std::vector<std::string> left_out = check_findings(command, file.tape);
  Converted done = converted(command, file.tape);
  left_out.insert(left_out.end(), done.left_out.begin(), done.left_out.end());
  ConvertReport report{.input = command.in,
                       .output = command.out,
                       .format = to_json(command) ? "JSON" : "HDF5",
                       .input_bytes = file.bytes,
                       .from_dtypes = dtypes_text(done.whole),
                       .select = command.select,
                       .axes = command.axes,
                       .set = command.set,
                       .left_out = std::move(left_out)};
  report.digests = checked_digests(command, done);
  if (command.dtype) report.rounding = round(command, done.tape, line);
  if (!command.axes.empty()) done.tape = with_axes(done.tape, command.axes);
  if (!command.set.empty()) done.tape = with_fields(done.tape, command.set);
  report.layers = static_cast<std::int64_t>(done.tape.cache.layers.size());
  report.to_dtypes = dtypes_text(done.tape);
  report.output_bytes = write(command, done.tape, line);
  return report;
}

// Before the work, not after it.
void check_target(const ConvertCommand& command) {
  if (!to_stdout(command))
    check_output(command.out, command.force, {command.in});
  else if (!to_json(command) && isatty(STDOUT_FILENO) == 1)
    throw Error({.text = "HDF5 is not written to a terminal",
                 .hint = "name a file, or say --to-format json"});
}

Outcome run_convert(const ConvertCommand& command) {
  check_options(command);
  check_target(command);
  try {
    ProgressLine line("convert " + command.in, command.common);
    const ConvertReport report = report_of(command, line);
    line.print_time();
    if (command.common.quiet) return {};
    if (command.common.json) return {.out = convert_json(report)};
    std::string text = convert_text(report, style_of(command.common));
    if (!to_stdout(command)) return {.out = std::move(text)};
    write_stderr(text);
    return {};
  } catch (const Error& error) {
    // What is said of no object is of the output.
    throw error.parts().object.empty() ? error : located(error, command.in);
  }
}

// ---- options

void add_transforms(CLI::App& app, ConvertCommand& command) {
  add_text(app,
           {"--select",
            "Keep a part. Layers, rows, heads and positions by number, as in "
            "layer=0:4,row=0,head=2,position=:16; ranges are half open, and "
            "negative numbers count from the end.",
            "WHAT"},
           command.select);
  add_choice(app,
             {"--dtype",
              "Round keys, values, queries and outputs to this dtype. To "
              "nearest, ties to even; the largest error is reported. "
              "Quantized tensors become what their codes stand for."},
             kFloats, [&command](std::size_t word) {
               command.dtype = dtype_from_name(kFloats.at(word));
             });
  add_choice(app,
             {"--overflow",
              "What to do with numbers beyond the range of --dtype. \"refuse\" "
              "(the default) ends with an error that says where the first one "
              "is; \"infinity\" writes them as infinities.",
              "", kForm},
             kOverflows,
             [&command](std::size_t word) { command.infinity = word == 1; });
  add_text(app,
           {"--axes",
            "Memory order of keys and values. For example "
            "batch,head,position,dim.",
            "ORDER"},
           command.axes);
  add_choice(app,
             {"--to",
              "Write the cache as a system holds it. Axes, index or length, "
              "starts or mask, and keys with or without rotary embedding are "
              "those of the system."},
             kSystems, [&command](std::size_t word) {
               command.system = static_cast<System>(word);
             });
  add_flag(app,
           {"--lossy",
            "Leave out what the system of --to has no place for. It is named; "
            "without this option it is an error.",
            "", kForm},
           command.lossy);
  add_text(app,
           {"--set",
            "Change fields. Those of the whole cache or of all layers by name, "
            "others by path, as in frozen=1,index=[16,12],"
            "layers/3/window=null; last of all changes.",
            "NAME=VALUE", kForm},
           command.set);
  add_flag(app, {"--no-trace", "Leave out the trace and the state after it."},
           command.no_trace);
  add_flag(app,
           {"--skip-invalid",
            "Convert a cache of which something cannot be understood. That is "
            "left out, and named; without this option it is an error.",
            "", kForm},
           command.skip_invalid);
  add_flag(app,
           {"--unstack", "Write each layer of a stack by itself.", "", kForm},
           command.unstack);
}

void add_formats(CLI::App& app, ConvertCommand& command) {
  add_choice(app,
             {"--to-format",
              "Format of OUT. The default goes by its name: JSON where that "
              "ends in .json or is -, else HDF5."},
             kFormats, [&command](std::size_t word) {
               command.format = kFormats.at(word);
             });
  add_choice(app,
             {"--encoding",
              "How JSON spells numbers. \"numbers\" (the default): the "
              "shortest decimals that read back to the same bits; \"base64\": "
              "their bytes, little-endian.",
              "", kForm},
             kEncodings, [&command](std::size_t word) {
               command.encoding = kEncodings.at(word);
             });
  add_number(app,
             {"--indent",
              "Blanks of a level of JSON. The default is 2; 0 writes it in one "
              "line.",
              "N", kForm},
             command.indent, 0, 16);
  add_flag(app,
           {"--compress", "Write shuffled, deflated datasets with checksums."},
           command.compress);
  add_number(app,
             {"--level",
              "Compress at this level, 1 to 9. The default is 1; on floats, "
              "higher ones gain about 1% at three times the time.",
              "N", kForm},
             command.level, 1, 9);
}

}  // namespace

Action declare_convert(CLI::App& app) {
  const auto command = std::make_shared<ConvertCommand>();
  describe(app,
           "Writes a cache again: as HDF5 or JSON, in another dtype or memory "
           "order, or a part of it. Without options nothing is lost: every bit "
           "of every tensor is kept. Memory is bounded, whatever the size of "
           "the cache; digests that IN recorded are checked on the way.",
           "kvtape convert run.h5 run.json                 the same in JSON\n"
           "kvtape convert run.h5 half.h5 --dtype bf16     rounded\n"
           "kvtape convert run.h5 small.h5 --select layer=0,head=0\n"
           "kvtape convert run.h5 heads.h5 --axes batch,head,position,dim\n"
           "kvtape convert run.h5 packed.h5 --compress     for a bug report\n");
  add_file(app,
           {.names = "IN",
            .help = "A cache file, HDF5 or JSON; - is standard input.",
            .value = "FILE"},
           command->in);
  add_file(app,
           {.names = "OUT",
            .help = "The file to write; - is standard output.",
            .value = "OUT"},
           command->out);
  add_transforms(app, *command);
  add_formats(app, *command);
  add_force(app, command->force);
  add_report_options(app, command->common);
  add_work_options(app, command->common);
  return [command] { return run_convert(*command); };
}

}  // namespace kvtape::cli
