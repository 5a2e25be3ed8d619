// What a cache file will hold, in plain words: no HDF5.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "io/stored_object.h"
#include "kvtape/tape.h"

namespace kvtape {

struct PlannedDataset {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> sizes;
  std::shared_ptr<const SlabSource> source;
  std::vector<std::int64_t> source_sizes;
  Box box;                        // of the source: the elements, in order
  std::vector<std::string> axes;  // their words; none where they mean nothing
};

struct PlannedObject {
  Attributes attributes;
  std::optional<PlannedDataset> dataset;  // else a group
};

/// By path; groups before what they hold.
using WritePlan = std::map<std::string, PlannedObject>;

/// How layers that are stacked in one dataset will stand.
enum class Stacks : std::uint8_t {
  kKept,   // under /stack
  kSplit,  // each under its own layer
};

/// Throws Error where two things would stand at one path.
WritePlan plan_of(const Tape& tape, Stacks stacks = Stacks::kKept);

/// Calls `visit` with the dataset's bytes, in order, a few MiB at a time: the
/// same pieces for any number of threads, which read what has no address.
void stream(const PlannedDataset& dataset, ThreadPool& pool,
            const std::function<void(std::span<const std::byte>)>& visit);

/// Copies a box of the dataset to `out`, packed.
void read_planned(const PlannedDataset& dataset, Box box,
                  std::span<std::byte> out);

std::int64_t bytes_of(const PlannedDataset& dataset);

}  // namespace kvtape
