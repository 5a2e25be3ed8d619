// Elements of planned datasets, read once from one end to the other.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "core/thread_pool.h"
#include "io/write_plan.h"
#include "kernels/summary.h"
#include "kvtape/json.h"

namespace kvtape {

class TensorPass {
 public:
  using Bytes = std::span<const std::byte>;

  /// The plan is what will be read; its size is the total of the progress.
  TensorPass(const WritePlan& plan, const JsonOptions& options);

  ThreadPool& pool() { return pool_; }

  /// Calls `visit` with all elements in order, a few MiB at a time.
  void read(const PlannedDataset& dataset,
            const std::function<void(Bytes)>& visit);

  struct Digested {
    kernels::Summary summary;
    std::string digest;
  };
  Digested summarize(const PlannedDataset& dataset);

  /// Of the numbers that a quantized tensor stands for.
  kernels::Summary summarize(const Tensor& quantized);

 private:
  void advance(std::int64_t bytes);

  ThreadPool pool_;
  std::function<void(std::int64_t, std::int64_t)> progress_;
  std::int64_t total_ = 0;
  std::int64_t done_ = 0;
};

}  // namespace kvtape
