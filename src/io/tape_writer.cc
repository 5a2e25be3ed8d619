// A Tape as a cache file.
#include <sys/stat.h>

#include "io/atomic_file.h"
#include "io/digest.h"
#include "io/file_source.h"
#include "io/hdf5_writer.h"
#include "kvtape/error.h"
#include "kvtape/io.h"

namespace kvtape {
namespace {

// Its tensors are read from it while it would be replaced.
void refuse_input(const WritePlan& plan, const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return;
  for (const auto& [name, object] : plan) {
    if (!object.dataset) continue;
    const auto* source =
        dynamic_cast<const FileSource*>(object.dataset->source.get());
    if (source != nullptr && source->input() != nullptr &&
        source->input()->is(status.st_dev, status.st_ino))
      throw Error({.file = path,
                   .text = "is the file that is read",
                   .hint = "write to another name, then rename it"});
  }
}

template <typename Visit>
std::int64_t for_each_digest(const Tape& tape, const Visit& visit) {
  std::int64_t count = 0;
  for (const auto& [path, object] : plan_of(tape)) {
    if (!object.dataset || !has_digest(*object.dataset)) continue;
    visit(path, *object.dataset);
    ++count;
  }
  return count;
}

}  // namespace

std::int64_t check_digests(const Tape& tape) {
  return for_each_digest(
      tape, [](const std::string& path, const PlannedDataset& dataset) {
        try {
          digest_of(dataset);
        } catch (const Error& error) {
          ErrorParts parts = error.parts();
          if (parts.object.empty()) parts.object = path;
          throw Error(std::move(parts));
        }
      });
}

std::int64_t count_digests(const Tape& tape) {
  return for_each_digest(tape,
                         [](const std::string&, const PlannedDataset&) {});
}

void write_tape(const Tape& tape,
                const std::function<void(std::string_view)>& sink,
                const WriteOptions& options) {
  AtomicFile file;
  write_hdf5(plan_of(tape), file, options);
  file.copy_to(sink);
}

void write_tape(const Tape& tape, const std::string& path,
                const WriteOptions& options) {
  try {
    const WritePlan plan = plan_of(tape);
    refuse_input(plan, path);
    AtomicFile out(path, options.force);
    write_hdf5(plan, out, options);
    out.commit();
  } catch (const Error& error) {
    throw error.in_file(path);
  }
}

}  // namespace kvtape
