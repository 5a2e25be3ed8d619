#include "io/channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "kvtape/error.h"

namespace kvtape {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{64} << 10;
constexpr std::size_t kLongest = std::size_t{96} << 20;  // bytes of a message

// Before the payload: its length, and the kind.
constexpr std::size_t kHeadBytes = sizeof(std::uint64_t) + 1;

// Waits for bytes to read; throws when there are none in time.
void wait(int socket, int patience) {
  pollfd polled{.fd = socket, .events = POLLIN, .revents = 0};
  for (;;) {
    const int ready = poll(&polled, 1, patience);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return;
    if (ready == 0)
      throw Error({.text = "kvtape-hdf5 did not answer in time: the file is "
                           "corrupt or hostile"});
  }
}

// Throws, unless the other end has closed: then what it last said is read.
void check_closed(int error) {
  if (error == EPIPE || error == ECONNRESET) return;
  throw Error({.text = "kvtape-hdf5 cannot be reached: " +
                       std::generic_category().message(error)});
}

}  // namespace

void Channel::send(std::uint8_t kind, const WireWriter& payload) {
  const std::uint64_t bytes = payload.data().size();
  const auto head = std::as_bytes(std::span(&bytes, 1));
  outgoing_.insert(outgoing_.end(), head.begin(), head.end());
  outgoing_.push_back(static_cast<std::byte>(kind));
  outgoing_.insert(outgoing_.end(), payload.data().begin(),
                   payload.data().end());
  if (outgoing_.size() >= kBlockBytes) flush();
}

void Channel::flush() {
  std::span<const std::byte> left = outgoing_;
  while (!left.empty()) {
    const ssize_t done =
        ::send(socket_, left.data(), left.size(), MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) {
      outgoing_.clear();
      return check_closed(errno);
    }
    left = left.subspan(static_cast<std::size_t>(done));
  }
  outgoing_.clear();
}

bool Channel::fill(int patience) {
  wait(socket_, patience);
  incoming_.resize(kBlockBytes);
  taken_ = 0;
  ssize_t got = 0;
  do got = recv(socket_, incoming_.data(), incoming_.size(), 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) check_closed(errno);
  incoming_.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return got > 0;
}

// Memory is taken as bytes come, not as many as a message says it has.
std::optional<std::vector<std::byte>> Channel::take(std::size_t bytes,
                                                    int patience) {
  std::vector<std::byte> result;
  while (result.size() < bytes) {
    if (taken_ == incoming_.size() && !fill(patience)) return {};
    const std::size_t count =
        std::min(bytes - result.size(), incoming_.size() - taken_);
    const auto from = incoming_.begin() + static_cast<std::ptrdiff_t>(taken_);
    result.insert(result.end(), from,
                  from + static_cast<std::ptrdiff_t>(count));
    taken_ += count;
  }
  return result;
}

std::optional<Message> Channel::receive(int patience) {
  flush();
  const auto head = take(kHeadBytes, patience);
  if (!head) return {};
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, head->data(), sizeof bytes);
  if (bytes > kLongest)
    throw Error({.text = "kvtape-hdf5 sent too much: the file is corrupt or "
                         "hostile"});
  auto payload = take(bytes, patience);
  if (!payload) return {};
  return Message{.kind = std::to_integer<std::uint8_t>(head->back()),
                 .payload = std::move(*payload)};
}

}  // namespace kvtape
