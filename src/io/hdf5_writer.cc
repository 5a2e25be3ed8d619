// libhdf5 lays the file out in a process of its own; our code writes everything
// where it says that it belongs.
#include "io/hdf5_writer.h"

#include <algorithm>

#include "io/digest.h"
#include "io/filters.h"
#include "io/hdf5_process.h"
#include "io/regions.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::int64_t kChunkBytes = 1 << 20;  // at most
constexpr std::int64_t kLeastChunked = 4096;   // smaller ones stay contiguous

using Sizes = std::vector<std::int64_t>;

std::int64_t product(const Sizes& sizes) {
  std::int64_t result = 1;
  for (std::int64_t size : sizes) result *= size;
  return result;
}

// Halves the slowest axes until a chunk is small enough.
Sizes chunk_sizes(Sizes sizes, int bytes_per_element) {
  for (std::int64_t& size : sizes)
    while (size > 1 && product(sizes) * bytes_per_element > kChunkBytes)
      size = (size + 1) / 2;
  return sizes;
}

class Hdf5Writer {
 public:
  Hdf5Writer(AtomicFile& out, const WriteOptions& options)
      : out_(out), options_(options), pool_(options.threads) {}

  void run(const WritePlan& plan) {
    for (const auto& [path, object] : plan)
      if (object.dataset) total_ += bytes_of(*object.dataset);
    create();
    for (const auto& [path, object] : plan) put_named(path, object);
    put_structure_digest();
    finish();
  }

 private:
  void create() {
    WireWriter request;
    request.number(options_.level);
    process_.send(Hdf5Request::kCreate, request);
    process_.receive(Hdf5Reply::kDone);
  }

  // What libhdf5 wrote about the elements.
  void finish() {
    process_.send(Hdf5Request::kFinish);
    for (;;) {
      const Message message = process_.receive();
      WireReader in(message.payload);
      const std::int64_t address = in.number();
      if (message.kind == static_cast<std::uint8_t>(Hdf5Reply::kPlace))
        return out_.resize(address);
      out_.write(address, in.bytes());
    }
  }

  std::int64_t receive_place() {
    const std::vector<std::byte> payload = process_.receive(Hdf5Reply::kPlace);
    return WireReader(payload).number();
  }

  void put_named(const std::string& path, const PlannedObject& object) {
    try {
      put(path, object);
    } catch (const Error& error) {
      ErrorParts parts = error.parts();
      // A failing output file has a name and no field.
      if (parts.object.empty() && (parts.file.empty() || !parts.field.empty()))
        parts.object = path;
      throw Error(std::move(parts));
    }
  }

  void put(const std::string& path, const PlannedObject& object) {
    StoredObject stored{.path = path, .attributes = {}, .dataset = {}};
    if (object.dataset) stored.dataset = described(*object.dataset);
    WireWriter request;
    kvtape::put(request, stored);
    process_.send(Hdf5Request::kPut, request);
    const std::int64_t offset = receive_place();
    if (stored.dataset && !stored.dataset->chunk.empty())
      write_chunks(*object.dataset, stored.dataset->chunk);
    stored.attributes = object.attributes;
    if (object.dataset)
      stored.attributes.emplace_back("digest",
                                     write_elements(*object.dataset, offset));
    for (const auto& [name, value] : stored.attributes)
      put_attribute(name, value);
    objects_.push_back(std::move(stored));
  }

  void put_structure_digest() {
    WireWriter request;
    kvtape::put(request, StoredObject{.path = "/"});
    process_.send(Hdf5Request::kPut, request);
    receive_place();
    put_attribute("digest", structure_digest(objects_));
  }

  StoredDataset described(const PlannedDataset& planned) const {
    StoredDataset d{.dtype = planned.dtype, .sizes = planned.sizes};
    if (!options_.compress || planned.sizes.empty() ||
        bytes_of(planned) < kLeastChunked)
      return d;
    d.layout = StoredDataset::Layout::kChunked;
    d.chunk = chunk_sizes(planned.sizes, bytes_per_element(planned.dtype));
    return d;
  }

  void put_attribute(const std::string& name, const AttributeValue& value) {
    WireWriter request;
    request.text(name);
    kvtape::put(request, value);
    process_.send(Hdf5Request::kPutAttribute, request);
  }

  // Those of a contiguous dataset go to where libhdf5 has put it, chunks have
  // gone already. Returns the digest: the elements are read once for both.
  std::string write_elements(const PlannedDataset& planned, std::int64_t at) {
    if (at < 0) return digest_of(planned, pool_);
    return digest_of(planned, pool_, [&](std::span<const std::byte> bytes) {
      out_.write(at, bytes);
      at += std::ssize(bytes);
      tell_progress(std::ssize(bytes));
    });
  }

  void tell_progress(std::int64_t bytes) {
    done_ += bytes;
    if (options_.progress) options_.progress(done_, total_);
  }

  // ---- compressed datasets

  void write_chunks(const PlannedDataset& planned, const Sizes& chunk) {
    const Box all{Sizes(chunk.size(), 0), planned.sizes};
    for_each_chunk(all, chunk, [&](std::span<const std::int64_t> number) {
      Box box{Sizes(number.begin(), number.end()), chunk};
      for (std::size_t axis = 0; axis < chunk.size(); ++axis)
        box.first[axis] *= chunk[axis];
      fill(planned, box);
      tell_progress(std::ssize(slab_));
      write_chunk(bytes_per_element(planned.dtype), box.first);
    });
  }

  // chunk_ becomes the chunk that begins at box.first; zeros beyond the edges.
  void fill(const PlannedDataset& planned, const Box& box) {
    const int size = bytes_per_element(planned.dtype);
    Box inside = box;
    for (std::size_t axis = 0; axis < box.first.size(); ++axis)
      inside.count[axis] =
          std::min(box.count[axis], planned.sizes[axis] - box.first[axis]);
    slab_.resize(static_cast<std::size_t>(product(inside.count) * size));
    read_part(planned, inside);
    chunk_.assign(static_cast<std::size_t>(product(box.count) * size),
                  std::byte{0});
    copy_overlap(slab_.data(), inside.first, inside.count, box, chunk_.data(),
                 size);
  }

  // The source has other axes where a layer was taken out of a stack, or codes
  // stand in a row: the part's elements are runs of it.
  void read_part(const PlannedDataset& planned, const Box& part) {
    if (planned.source_sizes == planned.sizes)
      return read_planned(planned, part, slab_);
    const std::int64_t row = part.count.back();
    const auto bytes =
        static_cast<std::size_t>(row * bytes_per_element(planned.dtype));
    Box one = part;
    std::fill(one.count.begin(), one.count.end() - 1, 1);
    for (std::size_t done = 0; done < slab_.size(); done += bytes) {
      read_row(planned, one, std::span(slab_).subspan(done, bytes));
      for (std::size_t axis = part.first.size() - 1; axis-- > 0;) {
        if (++one.first[axis] < part.first[axis] + part.count[axis]) break;
        one.first[axis] = part.first[axis];
      }
    }
  }

  static void read_row(const PlannedDataset& planned, const Box& row,
                       std::span<std::byte> out) {
    std::int64_t first = 0;
    for (std::size_t axis = 0; axis < planned.sizes.size(); ++axis)
      first = first * planned.sizes[axis] + row.first[axis];
    const int size = bytes_per_element(planned.dtype);
    for_each_run(planned.box.count, first, row.count.back(), [&](Box run) {
      for (std::size_t axis = 0; axis < run.first.size(); ++axis)
        run.first[axis] += planned.box.first[axis];
      const auto bytes = static_cast<std::size_t>(product(run.count) * size);
      read_planned(planned, run, out.first(bytes));
      out = out.subspan(bytes);
    });
  }

  void write_chunk(int bytes_per_element, const Sizes& origin) {
    const std::uint32_t skipped =
        encode_chunk(bytes_per_element, options_.level, chunk_, slab_);
    WireWriter request;
    request.list(origin);
    request.number(std::ssize(chunk_));
    request.number(skipped);
    process_.send(Hdf5Request::kPutChunk, request);
    out_.write(receive_place(), chunk_);
  }

  AtomicFile& out_;
  const WriteOptions& options_;
  ThreadPool pool_;
  Hdf5Process process_{nullptr};
  std::vector<StoredObject> objects_;  // as they were put
  std::int64_t done_ = 0;              // bytes of tensors
  std::int64_t total_ = 0;
  std::vector<std::byte> chunk_;
  std::vector<std::byte> slab_;
};

}  // namespace

void write_hdf5(const WritePlan& plan, AtomicFile& out,
                const WriteOptions& options) {
  Hdf5Writer(out, options).run(plan);
}

}  // namespace kvtape
