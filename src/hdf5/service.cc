#include "hdf5/service.h"

#include <new>

namespace kvtape {

void Service::answer(const Message& request) try {
  serve(request);
} catch (const Error& error) {
  send_error(error.parts());
} catch (const std::bad_alloc&) {
  send_error({.text = "kvtape-hdf5 has not enough memory: the file is corrupt "
                      "or hostile"});
}

void Service::serve(const Message& request) {
  WireReader in(request.payload);
  switch (static_cast<Hdf5Request>(request.kind)) {
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

void Service::send(Hdf5Reply reply, const WireWriter& payload) {
  channel_.send(static_cast<std::uint8_t>(reply), payload);
}

void Service::send_place(std::int64_t address) {
  WireWriter out;
  out.number(address);
  send(Hdf5Reply::kPlace, out);
}

void Service::send_error(const ErrorParts& parts) {
  WireWriter out;
  put(out, parts);
  send(Hdf5Reply::kError, out);
}

void Service::describe() {
  reader_.emplace(*input_);
  reader_->describe([this](const StoredObject& object) {
    WireWriter out;
    put(out, object);
    send(Hdf5Reply::kObject, out);
  });
  send(Hdf5Reply::kDone);
}

void Service::find_chunks(WireReader& in) {
  const auto object = static_cast<std::size_t>(in.number());
  const std::int64_t first = in.number();
  const std::int64_t count = in.number();
  WireWriter out;
  for (const ChunkPlace& place :
       reader_.value().find_chunks(object, first, count))
    put(out, place);
  send(Hdf5Reply::kChunks, out);
}

void Service::put_chunk(WireReader& in) {
  const std::vector<std::int64_t> origin = in.list();
  const std::int64_t bytes = in.number();
  const auto skipped = static_cast<std::uint32_t>(in.number());
  send_place(layout_.value().put_chunk(origin, bytes, skipped));
}

void Service::put_attribute(WireReader& in) {
  const std::string name = in.text();
  layout_.value().put_attribute(name, get_attribute(in));
}

void Service::finish() {
  const std::int64_t bytes = layout_.value().finish(
      [this](haddr_t address, std::span<const std::byte> run) {
        WireWriter out;
        out.number(static_cast<std::int64_t>(address));
        out.bytes(run);
        send(Hdf5Reply::kRun, out);
      });
  send_place(bytes);
}

}  // namespace kvtape
