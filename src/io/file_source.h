// Tensors' bytes in a file.
#pragma once

#include <memory>

#include "io/hdf5_file.h"
#include "io/mapped_file.h"
#include "kvtape/tensor.h"

namespace kvtape {

/// A source whose bytes stand in a file.
class FileSource : public SlabSource {
 public:
  explicit FileSource(std::shared_ptr<const InputFile> input)
      : input_(std::move(input)) {}
  const InputFile& input() const { return *input_; }

 private:
  std::shared_ptr<const InputFile> input_;
};

/// Makes the sources of a file's datasets. Sources keep the file open.
class SourceMaker {
 public:
  SourceMaker(std::shared_ptr<const InputFile> input,
              std::shared_ptr<const Hdf5File> file)
      : input_(std::move(input)), file_(std::move(file)) {}

  /// The axes are those of the dataset. Throws Error when the file cannot be
  /// mapped.
  std::shared_ptr<const SlabSource> source(std::size_t object);

  /// The same elements along one axis: how quantized codes are read.
  std::shared_ptr<const SlabSource> flat_source(std::size_t object);

 private:
  std::shared_ptr<const SlabSource> make(std::size_t object,
                                         std::vector<std::int64_t> sizes);

  std::shared_ptr<const InputFile> input_;
  std::shared_ptr<const Hdf5File> file_;
  std::shared_ptr<const MappedFile> mapped_;  // where something is contiguous
};

}  // namespace kvtape
