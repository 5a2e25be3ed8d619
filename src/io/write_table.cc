#include "io/write_table.h"

#include <fmt/format.h>

#include "io/axes_text.h"
#include "io/json_tensor_text.h"
#include "io/list_text.h"
#include "io/number_text.h"
#include "io/plan_tree.h"
#include "kvtape/error.h"
#include "systems/widen.h"

namespace kvtape {
namespace {

using Bytes = TensorPass::Bytes;

constexpr std::size_t kLongText = 1 << 20;

// In quotes where it must be.
std::string field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

// Counts through the elements of a tensor in C order.
class Counter {
 public:
  Counter(const std::vector<std::int64_t>& sizes,
          const std::vector<std::string>& words)
      : sizes_(sizes), at_(sizes.size(), 0) {
    for (std::size_t axis = 0; axis < sizes.size(); ++axis)
      kinds_.push_back(axis < words.size() ? axis_kind(words[axis])
                                           : AxisKind::kBatch);
  }

  // batch,position,head,dim; several batch axes are counted as one.
  void append(std::string& out) const {
    append_kinds({AxisKind::kBatch, AxisKind::kLayer}, out);
    append_kinds({AxisKind::kPosition, AxisKind::kToken}, out);
    append_kinds({AxisKind::kHead}, out);
    append_kinds({AxisKind::kDim}, out);
  }

  void advance() {
    for (std::size_t axis = at_.size(); axis-- > 0;) {
      if (++at_[axis] < sizes_[axis]) return;
      at_[axis] = 0;
    }
  }

 private:
  void append_kinds(std::initializer_list<AxisKind> kinds,
                    std::string& out) const {
    std::int64_t index = 0;
    bool found = false;
    for (std::size_t axis = 0; axis < at_.size(); ++axis) {
      for (const AxisKind kind : kinds) {
        if (kinds_[axis] != kind) continue;
        index = index * sizes_[axis] + at_[axis];
        found = true;
      }
    }
    if (found) fmt::format_to(std::back_inserter(out), "{}", index);
    out += ',';
  }

  const std::vector<std::int64_t>& sizes_;
  std::vector<std::int64_t> at_;
  std::vector<AxisKind> kinds_;
};

class TableWriter {
 public:
  TableWriter(const WritePlan& plan, const JsonOptions& options,
              const TextSink& sink)
      : encoding_(options.encoding), pass_(plan, options), sink_(sink) {
    if (encoding_ == Encoding::kBase64)
      throw Error({.text = "a table has no base64",
                   .hint = "leave --encoding to numbers"});
  }

  void run(const Place& root) {
    text_ = "path,";
    if (encoding_ == Encoding::kNumbers)
      text_ += "batch,position,head,dim,value\n";
    else if (encoding_ == Encoding::kSummary)
      text_ += "dtype,shape,count,min,max,mean,std,zeros,nan,inf,digest\n";
    else
      text_ += "dtype,shape,axes\n";
    write(root);
    sink_(text_);
  }

 private:
  void write(const Place& place) {
    try {
      if (place.is_tensor()) return write_tensor(place);
      if (const auto quantized = quantized_place(place))
        return write_tensor(place, quantized->tensor);
    } catch (const Error& error) {
      ErrorParts parts = error.parts();
      if (parts.object.empty()) parts.object = place.path;
      throw Error(std::move(parts));
    }
    for (const Place* below : in_order(place)) write(*below);
  }

  void write_tensor(const Place& place) {
    const PlannedDataset& dataset = *place.object->dataset;
    if (encoding_ == Encoding::kNumbers) {
      Counter counter(dataset.sizes, dataset.axes);
      const std::string path = field(place.path) + ',';
      return pass_.read(dataset, [&](Bytes bytes) {
        write_elements(path, dataset.dtype, bytes, counter);
      });
    }
    begin_row(place, dataset.dtype, dataset.sizes);
    if (encoding_ == Encoding::kSummary && !dataset.source->has_values()) {
      text_ += ",,,,,,,,";
    } else if (encoding_ == Encoding::kSummary) {
      const TensorPass::Digested digested = pass_.summarize(dataset);
      write_summary(digested.summary, dataset.dtype);
      text_ += digested.digest;
    } else {
      text_ += field(joined_words(dataset.axes));
    }
    end_row();
  }

  // Of the numbers that it stands for.
  void write_tensor(const Place& place, const Tensor& tensor) {
    std::vector<std::int64_t> sizes;
    std::vector<std::string> words;
    for (const Axis& axis : tensor.axes) {
      sizes.push_back(axis.size);
      words.push_back(axis.name);
    }
    if (encoding_ == Encoding::kNumbers) {
      Counter counter(sizes, words);
      const std::string path = field(place.path) + ',';
      return for_each_dequantized(tensor, [&](std::span<const float> numbers) {
        write_elements(path, DType::kF32, std::as_bytes(numbers), counter);
      });
    }
    begin_row(place, tensor.dtype, sizes);
    if (encoding_ == Encoding::kSummary && !tensor.source->has_values())
      text_ += ",,,,,,,,";
    else if (encoding_ == Encoding::kSummary)
      write_summary(pass_.summarize(tensor), tensor.dtype);
    else
      text_ += field(joined_words(words));
    end_row();
  }

  void write_elements(const std::string& path, DType dtype, Bytes bytes,
                      Counter& counter) {
    numbers_.clear();
    append_numbers(dtype, bytes, numbers_);
    for (std::string_view rest = numbers_; !rest.empty(); counter.advance()) {
      std::string_view number = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), number.size() + 1));
      if (number.starts_with('"')) number = number.substr(1, number.size() - 2);
      text_ += path;
      counter.append(text_);
      text_ += number;
      end_row();
    }
  }

  void begin_row(const Place& place, DType dtype,
                 const std::vector<std::int64_t>& sizes) {
    text_ += fmt::format("{},{},{},", field(place.path), name(dtype),
                         field(list_text(sizes)));
  }

  void write_summary(const kernels::Summary& summary, DType dtype) {
    text_ += fmt::format("{},", summary.count);
    if (summary.finite() > 0)
      text_ += fmt::format("{},{},{},{},", number_of(summary.min + 0.0, dtype),
                           number_of(summary.max + 0.0, dtype),
                           bare(summary.mean()), bare(summary.std()));
    else
      text_ += ",,,,";
    text_ += fmt::format("{},{},{},", summary.zeros, summary.nan, summary.inf);
  }

  // "Infinity" where a sum is too large.
  static std::string bare(double value) {
    std::string text = json_value(value);
    std::erase(text, '"');
    return text;
  }

  void end_row() {
    text_ += '\n';
    if (text_.size() < kLongText) return;
    sink_(text_);
    text_.clear();
  }

  Encoding encoding_;
  TensorPass pass_;
  const TextSink& sink_;
  std::string text_;
  std::string numbers_;  // of a slab, between commas
};

}  // namespace

void write_table(const WritePlan& plan, const JsonOptions& options,
                 const TextSink& sink) {
  TableWriter(plan, options, sink).run(tree_of(plan));
}

}  // namespace kvtape
