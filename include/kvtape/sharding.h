// Caches that are spread over devices, as EasyDeL places them: which part of
// each tensor a device holds, a cache in such parts, and the parts together.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kvtape/cache.h"
#include "kvtape/selection.h"

namespace kvtape {

struct MeshAxis {
  std::string name;  // "dp", "fsdp", "tp", "sp"
  std::int64_t size = 1;
};

/// A grid of devices, the slowest axis first: device 0 is at the origin, device
/// 1 one further along the last axis.
using Mesh = std::vector<MeshAxis>;

/// Throws Error for a size below 1 or a name that stands twice.
std::int64_t device_count(const Mesh& mesh);

/// The mesh axes that divide each axis of keys and values; several divide it
/// one after the other, the first coarsest. None: every device has all of it.
struct PartitionAxes {
  std::vector<std::string> batch;        // BATCH; of index and starts too
  std::vector<std::string> kv_length;    // KV_LENGTH
  std::vector<std::string> kv_head;      // KV_HEAD
  std::vector<std::string> kv_head_dim;  // KV_HEAD_DIM
};

/// Where a device's part of [batch, position, head, dim] begins and ends.
using ShardPlace = std::array<Interval, 4>;

/// Throws Error for a device or mesh axis that there is not, an axis that is
/// used twice, and sizes that are not a multiple of the parts (as JAX does).
ShardPlace shard_place(const std::array<std::int64_t, 4>& shape,
                       const Mesh& mesh, const PartitionAxes& axes,
                       std::int64_t device);

/// What a device holds: parts of keys, values, index, starts and
/// slot_position; metadata, masks and tokens stay those of the whole. Copies no
/// tensor's bytes. Throws Error where blocks of codes would be cut.
Cache shard(const Cache& cache, const Mesh& mesh, const PartitionAxes& axes,
            std::int64_t device);

/// The whole of the parts of all devices, in their order, bit for bit. Devices
/// that hold the same part are taken to agree. Codes of quantized tensors are
/// put together in memory, all else is read as it is asked for.
/// Throws Error where parts are missing or of other sizes.
Cache gather(const std::vector<Cache>& shards, const Mesh& mesh,
             const PartitionAxes& axes);

/// How many parts each axis seems to be in: what the metadata say divided by
/// what keys and values have. All tensors have to agree.
struct ShardFactors {
  std::int64_t batch = 1;
  std::int64_t position = 1;
  std::int64_t head = 1;
  std::int64_t dim = 1;
  std::int64_t parts() const { return batch * position * head * dim; }
};

/// Nothing where sizes are those of the metadata, or no whole part of them.
std::optional<ShardFactors> shard_factors(const Cache& cache);

}  // namespace kvtape
