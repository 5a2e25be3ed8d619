// What kvtape-hdf5 answers to whoever asks it.
#pragma once

#include <memory>
#include <optional>

#include "hdf5/layout.h"
#include "hdf5/reader.h"
#include "io/channel.h"
#include "io/hdf5_messages.h"
#include "io/input_file.h"

namespace kvtape {

class Service {
 public:
  /// `input`: the one file that it reads; null: none. The channel must outlive
  /// the service. Requires start_hdf5().
  Service(Channel& channel, std::shared_ptr<const InputFile> input)
      : channel_(channel), input_(std::move(input)) {}

  /// Answers over the channel; with kError where it cannot.
  void answer(const Message& request);

 private:
  void serve(const Message& request);
  void send(Hdf5Reply reply, const WireWriter& payload = {});
  void send_place(std::int64_t address);
  void send_error(const ErrorParts& parts);
  void describe();
  void find_chunks(WireReader& in);
  void put_chunk(WireReader& in);
  void put_attribute(WireReader& in);
  void finish();

  Channel& channel_;
  std::shared_ptr<const InputFile> input_;
  std::optional<Hdf5Reader> reader_;
  std::optional<Hdf5Layout> layout_;
};

}  // namespace kvtape
