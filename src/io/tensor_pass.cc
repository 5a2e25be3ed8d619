#include "io/tensor_pass.h"

#include <algorithm>

#include "io/digest.h"
#include "systems/widen.h"

namespace kvtape {
namespace {

// Whole elements of every dtype and whole quads of base64.
constexpr std::size_t kSlabBytes = std::size_t{3} << 21;
constexpr std::size_t kCachedBytes = 1 << 16;  // hashed, then summed up

}  // namespace

TensorPass::TensorPass(const WritePlan& plan, const JsonOptions& options)
    : pool_(options.threads), progress_(options.progress) {
  for (const auto& [path, object] : plan)
    if (object.dataset) total_ += bytes_of(*object.dataset);
}

void TensorPass::advance(std::int64_t bytes) {
  done_ += bytes;
  if (progress_) progress_(done_, total_);
}

void TensorPass::read(const PlannedDataset& dataset,
                      const std::function<void(Bytes)>& visit) {
  stream(dataset, pool_, [&](Bytes bytes) {
    while (!bytes.empty()) {
      const Bytes slab = bytes.first(std::min(kSlabBytes, bytes.size()));
      visit(slab);
      advance(std::ssize(slab));
      bytes = bytes.subspan(slab.size());
    }
  });
}

TensorPass::Digested TensorPass::summarize(const PlannedDataset& dataset) {
  kernels::Summarizer summarizer;
  Digest digest(dataset);
  read(dataset, [&](Bytes bytes) {
    while (!bytes.empty()) {
      const Bytes part = bytes.first(std::min(kCachedBytes, bytes.size()));
      digest.add(part);
      add_elements(dataset.dtype, part, summarizer);
      bytes = bytes.subspan(part.size());
    }
  });
  std::string text = digest.text();
  check_digest(dataset, text);
  return {.summary = summarizer.total(), .digest = std::move(text)};
}

kernels::Summary TensorPass::summarize(const Tensor& quantized) {
  kernels::Summarizer summarizer;
  for_each_dequantized(quantized, [&](std::span<const float> numbers) {
    add_elements(DType::kF32, std::as_bytes(numbers), summarizer);
  });
  advance(payload_bytes(quantized));
  return summarizer.total();
}

}  // namespace kvtape
