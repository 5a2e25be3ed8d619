#include "io/json_objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/natural.h"
#include "io/fields.h"
#include "io/json_data.h"
#include "io/json_text.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::size_t kMostObjects = 100'000;
constexpr std::size_t kDeepest = 16;           // groups in groups
constexpr std::int64_t kMostBytes = 64 << 20;  // of all keys and attributes
constexpr std::size_t kLongestKey = 1024;      // bytes
constexpr std::size_t kLongestValue = 65536;   // of an attribute, bytes
constexpr std::size_t kMostItems = 1 << 17;    // of a list that is no data

constexpr const char* kDumpAgain =
    "EasyDeL prints arrays with eight digits: write a cache file with h5py, as "
    "kvtape-cache(5) shows";

[[noreturn]] void refuse(std::string expected, std::string found,
                         std::string hint = "") {
  throw Error({.expected = std::move(expected),
               .found = std::move(found),
               .hint = std::move(hint)});
}

// "NaN", "Infinity" and "-Infinity" stand for the numbers.
AttributeValue value_of(const std::string& text) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return kInfinity;
  if (text == "-Infinity") return -kInfinity;
  return text;
}

// Does EasyDeL's to_json write an array like this?
bool is_printed_array(const std::string& key, const std::string& text) {
  constexpr auto kArrays = std::to_array<std::string_view>(
      {"key", "value", "index", "starts", "attention_mask", "tokens"});
  const bool printed = text.starts_with('[') || text.starts_with("Array8B(") ||
                       text.starts_with("ArrayNF4(");
  return printed &&
         std::find(kArrays.begin(), kArrays.end(), key) != kArrays.end();
}

struct Member {
  StoredObject stored;
  JsonElements elements;
};

// An object of JSON that has begun and not ended.
struct Frame {
  enum class Kind {
    kNew,  // no member yet
    kGroup,
    kTensor,
    kAttributes,    // of a tensor
    kQuantization,  // of a tensor
  };
  Kind kind = Kind::kNew;
  std::size_t member = 0;  // whose object it is
  std::set<std::string> keys;
  std::string key;  // of what is being read
  JsonTensor tensor;
};

// What nlohmann's parser calls.
class Handler {
 public:
  Handler(TextStream& stream, JsonText& text, TensorStore& store)
      : stream_(stream), text_(text), store_(store) {}

  bool null() { return scalar(NoValue()); }
  bool boolean(bool value) { return scalar(value); }
  bool number_integer(std::int64_t value) {
    if (value == 0) refuse("0, or -0.0", "-0");
    return scalar(value);
  }
  bool number_unsigned(std::uint64_t value) {
    if (value <= std::numeric_limits<std::int64_t>::max())
      return scalar(static_cast<std::int64_t>(value));
    return scalar(value);
  }
  bool number_float(double value, const std::string& text) {
    if (text.find_first_of(".eE") == text.npos)
      refuse("an integer below 2^64, from -2^63 on", text);
    const std::string digits = text.substr(0, text.find_first_of("eE"));
    if (value == 0 && digits.find_first_of("123456789") != digits.npos)
      refuse("a number that f64 tells from 0", text);
    return scalar(value);
  }
  bool string(const std::string& text) {
    if (text.find('\0') != text.npos)
      refuse("a text without the character 0", "one");
    if (!frames_.empty() && frames_.back().kind == Frame::Kind::kGroup &&
        is_printed_array(frames_.back().key, text))
      refuse("a tensor", "an array that was printed as text", kDumpAgain);
    const bool is_value = in_attributes() && !list_depth_;
    return scalar(is_value ? value_of(text) : AttributeValue(text));
  }
  bool binary(const std::vector<std::uint8_t>&) { return false; }

  bool start_object(std::size_t);
  bool key(const std::string& name);
  bool end_object();
  bool start_array(std::size_t);
  bool end_array();
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& error);

  /// Where the document is being read.
  std::string path() const;
  std::string field() const {
    return frames_.empty() ? "" : frames_.back().key;
  }

  std::vector<Member> members;

 private:
  bool in_attributes() const {
    return !frames_.empty() &&
           (frames_.back().kind == Frame::Kind::kGroup ||
            frames_.back().kind == Frame::Kind::kAttributes);
  }
  bool in_pairs() const {
    return frames_.back().kind == Frame::Kind::kTensor &&
           frames_.back().key == "nan_payloads";
  }
  bool scalar(AttributeValue value);
  void set_list();
  void add_attribute(AttributeValue value);
  void spend(std::size_t bytes);
  void add_member(std::string path);
  void begin_below(Frame& above);
  bool stays_in_text(const JsonTensor& tensor) const;
  void read_data(Frame& frame);
  void end_tensor(Frame& frame);

  TextStream& stream_;
  JsonText& text_;
  TensorStore& store_;
  std::vector<Frame> frames_;
  std::vector<AttributeValue> list_;
  int list_depth_ = 0;
  std::size_t list_start_ = 0;  // in list_, of the innermost list
  std::int64_t bytes_left_ = kMostBytes;
};

std::string Handler::path() const {
  return frames_.empty() ? "" : members[frames_.back().member].stored.path;
}

void Handler::spend(std::size_t bytes) {
  constexpr std::int64_t kOverhead = 64;  // bytes of a container's entry
  bytes_left_ -= static_cast<std::int64_t>(bytes) + kOverhead;
  if (bytes_left_ < 0) refuse("64 MiB of keys and attributes", "more");
}

void Handler::add_member(std::string path) {
  if (members.size() >= kMostObjects)
    refuse(fmt::format("at most {} objects", kMostObjects), "more");
  spend(path.size());
  members.push_back({{.path = std::move(path)}, {}});
}

// The object at the key of `above`: its place in the file.
void Handler::begin_below(Frame& above) {
  const std::string& name = above.key;
  if (name == "." || name.find('/') != name.npos)
    refuse("a name without slashes", "'" + name + "'");
  const std::string& path = members[above.member].stored.path;
  if (frames_.size() > kDeepest)
    refuse(fmt::format("at most {} groups in groups", kDeepest), "more");
  add_member((path == "/" ? "" : path) + "/" + name);
}

bool Handler::start_object(std::size_t) {
  if (list_depth_ > 0) refuse("a number or a text", "an object");
  Frame frame;
  if (frames_.empty()) {
    add_member("/");
    frames_.push_back(std::move(frame));
    return true;
  }
  Frame& above = frames_.back();
  frame.member = above.member;
  if (above.kind == Frame::Kind::kTensor && above.key == "attributes") {
    frame.kind = Frame::Kind::kAttributes;
  } else if (above.kind == Frame::Kind::kTensor &&
             above.key == "quantization") {
    frame.kind = Frame::Kind::kQuantization;
  } else if (above.kind == Frame::Kind::kGroup ||
             (above.kind == Frame::Kind::kTensor &&
              above.tensor.may_hold(above.key))) {
    begin_below(above);
    frame.member = members.size() - 1;
  } else {
    refuse("a value", "an object");
  }
  frames_.push_back(std::move(frame));
  return true;
}

bool Handler::key(const std::string& name) {
  Frame& frame = frames_.back();
  frame.key = name;
  if (name.empty() || name.size() > kLongestKey || name.find('\0') != name.npos)
    refuse("a key of 1 to 1024 bytes, none of them 0", "another");
  if (!frame.keys.insert(name).second)
    throw Error({.text = "stands here twice"});
  spend(2 * name.size());
  const bool is_root = frames_.size() == 1;
  if (is_root && name == "views")
    refuse("a document of kvtape", "a cache as EasyDeL's to_json prints it",
           kDumpAgain);
  if (frame.kind == Frame::Kind::kNew)
    frame.kind = name == "dtype" && !is_root ? Frame::Kind::kTensor
                                             : Frame::Kind::kGroup;
  else if (frame.kind == Frame::Kind::kGroup && name == "dtype")
    throw Error({.text = "stands behind other members",
                 .hint = "dtype is the first member of a tensor, and of no "
                         "other object: do not sort the keys"});
  if (frame.kind == Frame::Kind::kTensor) {
    frame.tensor.begin_member(name);
    if (frame.tensor.reads_elements(name)) read_data(frame);
  }
  return true;
}

// A file can be read again, a pipe cannot. Few elements cost no memory.
bool Handler::stays_in_text(const JsonTensor& tensor) const {
  constexpr std::int64_t kFew = 65536;  // bytes
  return tensor.encoding() == JsonEncoding::kBase64 && stream_.left() &&
         tensor.count() * bytes_per_element(tensor.dtype()) > kFew;
}

// The lexer would take long, and a value for each element.
void Handler::read_data(Frame& frame) {
  if (!text_.enter_value()) return;
  JsonElements& elements = members[frame.member].elements;
  elements.encoding = frame.tensor.encoding();
  elements.in_text = stays_in_text(frame.tensor);
  const std::int64_t start = stream_.position();
  if (elements.in_text) {
    elements.first = start + 1;  // behind the quote
    read_elements(stream_, frame.tensor, nullptr);
  } else {
    store_.align();
    elements.first = store_.size();
    read_elements(stream_, frame.tensor, &store_);
  }
  elements.text_bytes = stream_.position() - start;
  text_.leave_value();
}

void Handler::end_tensor(Frame& frame) {
  frame.tensor.end();
  Attributes& attributes = members[frame.member].stored.attributes;
  for (auto& [name, value] : frame.tensor.attributes()) {
    for (const auto& [other, ignored] : attributes)
      if (other == name)
        throw Error({.field = name, .text = "stands in \"attributes\" too"});
    attributes.emplace_back(name, value);
  }
  if (!frame.tensor.quantized()) {
    members[frame.member].stored.dataset = {.dtype = frame.tensor.dtype(),
                                            .sizes = frame.tensor.sizes()};
    return;
  }
  const std::string path = members[frame.member].stored.path;
  for (const JsonTensor::Part& part : frame.tensor.absent_parts()) {
    add_member(path + "/" + part.name);
    members.back().stored.dataset = {.dtype = part.dtype,
                                     .sizes = {part.count}};
  }
}

bool Handler::end_object() {
  Frame& frame = frames_.back();
  frame.key.clear();
  if (frame.kind == Frame::Kind::kTensor) end_tensor(frame);
  frames_.pop_back();
  return true;
}

bool Handler::start_array(std::size_t) {
  if (frames_.empty()) refuse("an object", "a list");
  if (list_depth_ > (in_pairs() ? 1 : 0)) refuse("numbers or texts", "a list");
  ++list_depth_;
  list_start_ = list_.size();
  return true;
}

bool Handler::end_array() {
  if (--list_depth_ > 0) {
    if (list_.size() - list_start_ != 2) refuse("pairs", "another list");
    return true;
  }
  set_list();
  list_.clear();
  return true;
}

bool Handler::scalar(AttributeValue value) {
  if (frames_.empty()) refuse("an object", value_text(value));
  if (const auto* text = std::get_if<std::string>(&value)) spend(text->size());
  Frame& frame = frames_.back();
  if (list_depth_ > 0) {
    if (in_pairs() && list_depth_ == 1) refuse("pairs", value_text(value));
    if (list_.size() >= kMostItems)
      refuse(fmt::format("a list of at most {}", kMostItems), "a longer one");
    list_.push_back(std::move(value));
  } else if (in_attributes()) {
    add_attribute(std::move(value));
  } else if (frame.kind == Frame::Kind::kQuantization) {
    frames_[frames_.size() - 2].tensor.set_quantization(frame.key, value);
  } else if (!frame.tensor.reads_elements(frame.key)) {
    frame.tensor.set(frame.key, value);
  }
  return true;
}

void Handler::add_attribute(AttributeValue value) {
  const auto* text = std::get_if<std::string>(&value);
  const auto* list = std::get_if<std::vector<std::int64_t>>(&value);
  const std::size_t bytes = text   ? text->size()
                            : list ? list->size() * sizeof(std::int64_t)
                                   : 0;
  if (bytes > kLongestValue)
    refuse(fmt::format("at most {} bytes", kLongestValue), "more");
  const Frame& frame = frames_.back();
  members[frame.member].stored.attributes.emplace_back(frame.key,
                                                       std::move(value));
}

void Handler::set_list() {
  Frame& frame = frames_.back();
  if (frame.kind == Frame::Kind::kTensor)
    return frame.tensor.set_list(frame.key, list_);
  std::vector<std::int64_t> numbers;
  for (const AttributeValue& item : list_) {
    const auto* number = std::get_if<std::int64_t>(&item);
    if (number == nullptr)
      refuse("a list of integers", value_text(item),
             "a tensor is an object whose first member is dtype");
    numbers.push_back(*number);
  }
  spend(numbers.size() * sizeof(std::int64_t));
  add_attribute(std::move(numbers));
}

// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax
// error while parsing object key - invalid literal; last read: '{x'; expected
// string literal": its own words, without what it read.
std::string reason_of(const nlohmann::json::exception& error) {
  constexpr int kOverflow = 406;
  if (error.id == kOverflow) return "a number that no f64 holds";
  const std::string_view what = error.what();
  const std::string_view start = "syntax error ";
  const std::string_view quote = "; last read: '";
  const std::size_t from = what.find(start);
  if (from == what.npos) return "no JSON";
  const std::size_t until = std::min(what.find(quote, from), what.size());
  std::string reason(
      what.substr(from + start.size(), until - from - start.size()));
  const std::size_t expected = what.rfind("; expected ");
  if (expected != what.npos && expected >= until)
    reason += what.substr(expected);
  return reason;
}

bool Handler::parse_error(std::size_t, const std::string&,
                          const nlohmann::json::exception& error) {
  throw Error(
      {.text = "no JSON: " + reason_of(error),
       .hint = text_.is_at_nan()
                   ? "JSON has no NaN and no Infinity: write them as texts, "
                     "\"NaN\", \"Infinity\" and \"-Infinity\""
                   : ""});
}

// An error of the text says where in it; one of its meaning says where in the
// document, too.
Error placed(const Error& error, const Handler& handler, TextPlace place) {
  ErrorParts parts = error.parts();
  if (parts.object.empty()) parts.object = handler.path();
  if (parts.field.empty()) parts.field = handler.field();
  if (parts.text.empty())
    parts.text =
        fmt::format("expected {}, found {}", parts.expected, parts.found);
  if (!parts.text.starts_with("line "))
    parts.text = fmt::format("line {}, column {}: {}", place.line, place.column,
                             parts.text);
  return Error(std::move(parts));
}

std::vector<std::string_view> names_in(std::string_view path) {
  std::vector<std::string_view> names;
  while (path.size() > 1) {
    const std::size_t slash = path.find('/', 1);
    names.push_back(path.substr(1, slash - 1));
    path = slash == path.npos ? "" : path.substr(slash);
  }
  return names;
}

JsonDocument in_order(std::vector<Member> members) {
  const auto names_less = [](const Member& a, const Member& b) {
    const auto x = names_in(a.stored.path);
    const auto y = names_in(b.stored.path);
    return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end(),
                                        natural_less);
  };
  std::sort(members.begin(), members.end(), names_less);
  JsonDocument document;
  for (Member& member : members) {
    std::stable_sort(member.stored.attributes.begin(),
                     member.stored.attributes.end(),
                     [](const auto& a, const auto& b) {
                       return natural_less(a.first, b.first);
                     });
    document.objects.push_back(std::move(member.stored));
    document.elements.push_back(member.elements);
  }
  return document;
}

}  // namespace

JsonDocument read_document(TextStream& stream, TensorStore& store) {
  JsonText text(stream);
  Handler handler(stream, text, store);
  try {
    if (!stream.skip_blanks()) throw Error({.text = "the document is empty"});
    if (stream.ahead().front() == '\xEF')
      throw Error({.text = "no JSON: it begins with a byte order mark",
                   .hint = "save it as UTF-8 without one"});
    nlohmann::json::sax_parse(text.begin(), text.end(), &handler);
    store.finish();
  } catch (const Error& error) {
    throw placed(error, handler, text.place());
  }
  return in_order(std::move(handler.members));
}

}  // namespace kvtape
