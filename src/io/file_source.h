// Tensors' bytes in a file.
#pragma once

#include <memory>

#include "io/hdf5_file.h"
#include "io/mapped_file.h"
#include "io/sources.h"
#include "kvtape/tensor.h"

namespace kvtape {

/// A source whose bytes stand in a file.
class FileSource : public SlabSource {
 public:
  explicit FileSource(std::shared_ptr<const InputFile> input)
      : input_(std::move(input)) {}
  /// The file, null where the bytes come from memory.
  const InputFile* input() const { return input_.get(); }

 private:
  std::shared_ptr<const InputFile> input_;
};

/// The sources of a file of HDF5. They keep the file open, and map it where
/// something is contiguous.
class FileSources final : public Sources {
 public:
  FileSources(std::shared_ptr<const InputFile> input,
              std::shared_ptr<const Hdf5File> file)
      : input_(std::move(input)), file_(std::move(file)) {}

  std::shared_ptr<const SlabSource> source(std::size_t object) override;
  std::shared_ptr<const SlabSource> flat_source(std::size_t object) override;

 private:
  std::shared_ptr<const SlabSource> make(std::size_t object,
                                         std::vector<std::int64_t> sizes);

  std::shared_ptr<const InputFile> input_;
  std::shared_ptr<const Hdf5File> file_;
  std::shared_ptr<const MappedFile> mapped_;
};

}  // namespace kvtape
