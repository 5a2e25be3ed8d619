// Hdf5Process and its Channel for the fuzzer: what kvtape-hdf5 does is done
// here, when it is asked. The linker finds them before those of the library,
// which start the program and wait for it: many times as long as a run takes.
// For one file at a time.
#include <fcntl.h>

#include <cstdlib>
#include <deque>

#include "hdf5/service.h"
#include "io/hdf5_process.h"
#include "kvtape/error.h"

namespace kvtape {
namespace {

std::deque<Message> replies;
std::optional<Service> service;

}  // namespace

void Channel::send(std::uint8_t kind, const WireWriter& payload) {
  replies.push_back(
      {.kind = kind,
       .payload = {payload.data().begin(), payload.data().end()}});
}

Hdf5Process::Hdf5Process(const InputFile* input) { start(input); }

void Hdf5Process::start(const InputFile* input) {
  const int file = fcntl(input->descriptor(), F_DUPFD_CLOEXEC, 0);
  service.emplace(channel_, InputFile::inherited(file));
}

Hdf5Process::~Hdf5Process() { end(); }

int Hdf5Process::end() {
  service.reset();
  replies.clear();
  return 0;
}

void Hdf5Process::send(Hdf5Request request, const WireWriter& payload) {
  service.value().answer(
      {.kind = static_cast<std::uint8_t>(request),
       .payload = {payload.data().begin(), payload.data().end()}});
}

Message Hdf5Process::receive() {
  if (replies.empty()) std::abort();
  Message message = std::move(replies.front());
  replies.pop_front();
  if (message.kind == static_cast<std::uint8_t>(Hdf5Reply::kError)) {
    WireReader in(message.payload);
    throw Error(get_error(in));
  }
  return message;
}

std::vector<std::byte> Hdf5Process::receive(Hdf5Reply expected) {
  Message message = receive();
  if (message.kind != static_cast<std::uint8_t>(expected)) std::abort();
  return std::move(message.payload);
}

}  // namespace kvtape
