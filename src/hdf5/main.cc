// kvtape-hdf5: libhdf5 in a process of its own, which can neither open a file
// nor outlive the program that asks it. Standard input: the file that it reads.
// Standard output: the socket over which it is asked and answers.
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <optional>

#include "hdf5/layout.h"
#include "hdf5/reader.h"
#include "hdf5/sandbox.h"
#include "io/channel.h"
#include "io/hdf5_messages.h"
#include "kvtape/version.h"

namespace kvtape {
namespace {

std::string hdf5_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return std::to_string(major) + "." + std::to_string(minor) + "." +
         std::to_string(release);
}

class Service {
 public:
  Service(Channel& channel, std::shared_ptr<const InputFile> input)
      : channel_(channel), input_(std::move(input)) {}

  void answer(const Message& message) {
    WireReader in(message.payload);
    switch (static_cast<Hdf5Request>(message.kind)) {
      case Hdf5Request::kDescribe:
        return describe();
      case Hdf5Request::kFindChunks:
        return find_chunks(in);
      case Hdf5Request::kCreate:
        layout_.emplace(static_cast<int>(in.number()));
        return send(Hdf5Reply::kDone);
      case Hdf5Request::kPut:
        return send_place(layout_.value().put(get_object(in)));
      case Hdf5Request::kPutChunk:
        return put_chunk(in);
      case Hdf5Request::kPutAttribute:
        return put_attribute(in);
      case Hdf5Request::kFinish:
        return finish();
    }
  }

 private:
  void send(Hdf5Reply reply, const WireWriter& payload = {}) {
    channel_.send(static_cast<std::uint8_t>(reply), payload);
  }

  void send_place(std::int64_t address) {
    WireWriter out;
    out.number(address);
    send(Hdf5Reply::kPlace, out);
  }

  void describe() {
    reader_.emplace(*input_);
    reader_->describe([this](const StoredObject& object) {
      WireWriter out;
      put(out, object);
      send(Hdf5Reply::kObject, out);
    });
    send(Hdf5Reply::kDone);
  }

  void find_chunks(WireReader& in) {
    const auto object = static_cast<std::size_t>(in.number());
    const std::int64_t first = in.number();
    const std::int64_t count = in.number();
    WireWriter out;
    for (const ChunkPlace& place :
         reader_.value().find_chunks(object, first, count))
      put(out, place);
    send(Hdf5Reply::kChunks, out);
  }

  void put_chunk(WireReader& in) {
    const std::vector<std::int64_t> origin = in.list();
    const std::int64_t bytes = in.number();
    const auto skipped = static_cast<std::uint32_t>(in.number());
    send_place(layout_.value().put_chunk(origin, bytes, skipped));
  }

  void put_attribute(WireReader& in) {
    const std::string name = in.text();
    layout_.value().put_attribute(name, get_attribute(in));
  }

  void finish() {
    const std::int64_t bytes = layout_.value().finish(
        [this](haddr_t address, std::span<const std::byte> run) {
          WireWriter out;
          out.number(static_cast<std::int64_t>(address));
          out.bytes(run);
          send(Hdf5Reply::kRun, out);
        });
    send_place(bytes);
  }

  Channel& channel_;
  std::shared_ptr<const InputFile> input_;
  std::optional<Hdf5Reader> reader_;
  std::optional<Hdf5Layout> layout_;
};

void send_error(Channel& channel, const ErrorParts& parts) {
  WireWriter out;
  put(out, parts);
  channel.send(static_cast<std::uint8_t>(Hdf5Reply::kError), out);
}

void serve(Channel& channel, std::shared_ptr<const InputFile> input) {
  Service service(channel, std::move(input));
  while (const auto message = channel.receive(-1)) try {
      service.answer(*message);
    } catch (const Error& error) {
      send_error(channel, error.parts());
    } catch (const std::bad_alloc&) {
      send_error(channel, {.text = "kvtape-hdf5 has not enough memory: the "
                                   "file is corrupt or hostile"});
    }
}

void run() {
  Hdf5Hello hello{.kvtape_version = kVersion};
  hello.limits_memory = limit_resources();
  start_hdf5();
  hello.hdf5_version = hdf5_version();
  auto input = InputFile::inherited(STDIN_FILENO);
  hello.filters_calls = filter_calls();
  Channel channel(STDOUT_FILENO);
  WireWriter out;
  put(out, hello);
  channel.send(static_cast<std::uint8_t>(Hdf5Reply::kHello), out);
  serve(channel, std::move(input));
}

}  // namespace
}  // namespace kvtape

int main() {
  kvtape::run();
  std::_Exit(0);  // what libhdf5 still holds goes with the process
}
