// Tensors that can only be read, like chunked ones of a file.
#pragma once

#include <memory>
#include <utility>

#include "kvtape/tensor.h"

namespace kvtape::tests {

class HiddenSource final : public SlabSource {
 public:
  explicit HiddenSource(std::shared_ptr<const SlabSource> source)
      : source_(std::move(source)) {}
  std::span<const std::byte> bytes() const override { return {}; }
  void read(const Box& box, std::span<std::byte> out) const override {
    source_->read(box, out);
  }
  Storage storage() const override { return source_->storage(); }

 private:
  std::shared_ptr<const SlabSource> source_;
};

/// The same tensor behind sources whose bytes cannot be addressed.
inline Tensor hidden(Tensor tensor) {
  tensor.source = std::make_shared<HiddenSource>(tensor.source);
  auto& scales = tensor.quantization.scales;
  if (scales) scales = std::make_shared<HiddenSource>(scales);
  return tensor;
}

}  // namespace kvtape::tests
