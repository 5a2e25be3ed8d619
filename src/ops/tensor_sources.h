// Sources that compute what another source holds in another form, range by
// range: cut, widened or rounded, reordered. Nothing is kept but one window.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape {

/// Indices along an axis: `repeats` runs of `count`, `period` apart.
struct AxisCut {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t repeats = 1;
  std::int64_t period = 0;
  std::int64_t size() const { return count * repeats; }
};

/// The elements of `base`, an array of these sizes, at these indices.
std::shared_ptr<const SlabSource> cut_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    std::vector<AxisCut> cuts, int bytes_per_element);

/// The same where base is one axis that stands for these sizes in C order, and
/// so is the result.
std::shared_ptr<const SlabSource> flat_cut_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    std::vector<AxisCut> cuts, int bytes_per_element);

/// One index of an axis of `base`, which is no axis of the result.
std::shared_ptr<const SlabSource> slice_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    std::size_t axis, std::int64_t index, int bytes_per_element);

/// Floats of another dtype, each rounded once to the nearest (ties to even).
std::shared_ptr<const SlabSource> converted_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    DType from, DType to);

/// What a quantized tensor stands for, in its dtype and usual order of axes.
std::shared_ptr<const SlabSource> dequantized_source(const Tensor& tensor);

/// Elements in another order that were read last; shared by all sources that
/// reorder, so that memory stays bounded.
struct Window {
  std::mutex mutex;
  const SlabSource* owner = nullptr;
  std::int64_t first = 0;  // element of the owner
  std::vector<std::byte> bytes;
};

/// The elements of `base` with axis order[i] of its `sizes` as axis i.
std::shared_ptr<const SlabSource> reordered_source(
    std::shared_ptr<const SlabSource> base, std::vector<std::int64_t> sizes,
    std::vector<std::size_t> order, int bytes_per_element,
    std::shared_ptr<Window> window);

}  // namespace kvtape
