// PyTorch's attention (bmm, softmax, bmm) in a process of its own, run on
// demand so that it takes its turn among the candidates.
#pragma once

#include <cstdio>
#include <string>

#include "decode_case.h"

namespace kvtape::bench {

class TorchPeer {
 public:
  /// Starts `script` with /usr/bin/python3.
  explicit TorchPeer(const std::string& script);
  ~TorchPeer();
  TorchPeer(const TorchPeer&) = delete;
  TorchPeer& operator=(const TorchPeer&) = delete;

  /// Its version; empty where it is not installed.
  const std::string& version() const { return version_; }

  /// Random f32 queries, keys and values of the shape.
  void prepare(const Shape& shape, int threads);
  double seconds();  // of one run

 private:
  std::string ask(const std::string& line);

  int process_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
  std::string version_;
};

}  // namespace kvtape::bench
