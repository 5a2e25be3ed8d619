// A Tape as a cache file.
#include <sys/stat.h>

#include "core/thread_pool.h"
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

void check_edited(const Tape& tape) {
  if (!tape.edited) return;
  throw Error({.object = tape.edited->object,
               .field = tape.edited->field,
               .expected = tape.edited->expected,
               .found = tape.edited->found,
               .hint = tape.edited->fix});
}

std::int64_t check_digests(const Tape& tape, int threads) {
  ThreadPool pool(threads);
  return for_each_digest(
      tape, [&](const std::string& path, const PlannedDataset& dataset) {
        try {
          digest_of(dataset, pool);
        } catch (const Error& error) {
          ErrorParts parts = error.parts();
          if (parts.object.empty()) parts.object = path;
          throw Error(std::move(parts));
        }
      });
}

std::vector<Finding> digest_findings(const Tape& tape, int threads) {
  std::vector<std::pair<std::string, PlannedDataset>> datasets;
  for_each_digest(tape,
                  [&](const std::string& path, const PlannedDataset& dataset) {
                    datasets.emplace_back(path, dataset);
                  });
  std::vector<std::optional<Finding>> found(datasets.size());
  ThreadPool pool(threads);
  pool.run(std::ssize(datasets), [&](std::int64_t i, int) {
    const auto& [path, dataset] = datasets[static_cast<std::size_t>(i)];
    ThreadPool alone(1);
    try {
      digest_of(dataset, alone);
    } catch (const Error& error) {
      const ErrorParts& parts = error.parts();
      if (parts.field != "digest") throw;
      found[static_cast<std::size_t>(i)] = {.rule = "E07",
                                            .object = path,
                                            .field = parts.field,
                                            .expected = parts.expected,
                                            .found = parts.found,
                                            .fix = parts.hint};
    }
  });
  std::vector<Finding> findings;
  if (tape.edited) findings.push_back(*tape.edited);
  for (std::optional<Finding>& one : found)
    if (one) findings.push_back(std::move(*one));
  return findings;
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
    check_inputs_unchanged();
    out.commit();
  } catch (const Error& error) {
    throw error.in_file(path);
  }
}

}  // namespace kvtape
