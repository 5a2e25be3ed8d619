// What it costs to round a tape to another dtype.
#include <algorithm>
#include <mutex>

#include "core/thread_pool.h"
#include "kernels/convert.h"
#include "kvtape/transform.h"
#include "ops/box_parts.h"
#include "ops/tape_tensors.h"
#include "systems/element.h"
#include "systems/slab_copy.h"

namespace kvtape {
namespace {

constexpr std::int64_t kPartBytes = 4 << 20;

// A range of a tensor, with what rounding does to it.
struct Part {
  const TapeTensor* named = nullptr;
  Box box;
  kernels::Rounding rounding;
};

Box box_of(const Tensor& tensor) {
  Box box;
  for (const Axis& axis : tensor.axes) {
    const bool layer = axis.kind == AxisKind::kLayer;
    box.first.push_back(layer ? tensor.layer.value_or(0) : 0);
    box.count.push_back(layer ? 1 : axis.size);
  }
  return box;
}

void measure(Part& part, DType dtype) {
  const Tensor& tensor = **part.named->tensor;
  const std::int64_t count = product(part.box.count);
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(count * bytes_per_element(tensor.dtype)));
  tensor.source->read(part.box, bytes);
  part.rounding = kernels::rounding(bytes.data(), element_of(tensor.dtype),
                                    count, element_of(dtype));
}

// The element at this place of a part.
RoundedElement element_at(const Part& part, std::int64_t at, DType dtype) {
  const Tensor& tensor = **part.named->tensor;
  RoundedElement result{.object = part.named->path, .index = part.box.first};
  for (std::size_t axis = part.box.count.size(); axis-- > 0;) {
    result.index[axis] += at % part.box.count[axis];
    at /= part.box.count[axis];
  }
  std::vector<std::byte> element(
      static_cast<std::size_t>(bytes_per_element(tensor.dtype)));
  tensor.source->read(
      {result.index, std::vector<std::int64_t>(result.index.size(), 1)},
      element);
  std::byte rounded[sizeof(double)];
  result.value = load_number(tensor.dtype, element.data());
  store_number(result.value, dtype, rounded);
  result.rounded = load_number(dtype, rounded);
  if (!tensor.layer) return result;
  for (std::size_t axis = 0; axis < tensor.axes.size(); ++axis)
    if (tensor.axes[axis].kind == AxisKind::kLayer)
      result.index.erase(result.index.begin() +
                         static_cast<std::ptrdiff_t>(axis));
  return result;
}

std::vector<Part> parts_of(const std::vector<TapeTensor>& tensors,
                           DType dtype) {
  std::vector<Part> parts;
  for (const TapeTensor& named : tensors) {
    const Tensor& tensor = **named.tensor;
    if (kernels::holds_all(element_of(tensor.dtype), element_of(dtype)) ||
        element_count(tensor) == 0)
      continue;
    for_each_part(
        box_of(tensor), kPartBytes / bytes_per_element(tensor.dtype),
        [&](const Box& box) {
          parts.push_back({.named = &named, .box = box, .rounding = {}});
        });
  }
  return parts;
}

}  // namespace

RoundingReport rounding(const Tape& tape, DType dtype,
                        const RoundingOptions& options) {
  Tape plain = dequantized(tape);
  const std::vector<TapeTensor> tensors = float_tensors(plain);
  RoundingReport report;
  for (const TapeTensor& named : tensors) {
    if ((*named.tensor)->dtype == dtype) continue;
    ++report.tensors;
    report.values += element_count(**named.tensor);
  }
  std::vector<Part> parts = parts_of(tensors, dtype);
  ThreadPool pool(options.threads);
  std::mutex mutex;
  std::int64_t done = 0;
  const std::int64_t total = std::ssize(parts);
  pool.run(total, [&](std::int64_t task, int) {
    measure(parts[static_cast<std::size_t>(task)], dtype);
    if (!options.progress) return;
    const std::lock_guard lock(mutex);
    options.progress(++done, total);
  });
  const Part* largest = nullptr;
  for (const Part& part : parts) {
    if (report.infinite == 0 && part.rounding.infinite > 0)
      report.infinite_at = element_at(part, part.rounding.infinite_at, dtype);
    report.changed += part.rounding.changed;
    report.infinite += part.rounding.infinite;
    report.zero += part.rounding.zero;
    if (part.rounding.largest <= report.largest) continue;
    report.largest = part.rounding.largest;
    largest = &part;
  }
  if (largest != nullptr)
    report.largest_at = element_at(*largest, largest->rounding.at, dtype);
  return report;
}

}  // namespace kvtape
