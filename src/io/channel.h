// Messages over a socket between this process and one that it started, or the
// one that started it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "io/wire.h"

namespace kvtape {

struct Message {
  std::uint8_t kind = 0;
  std::vector<std::byte> payload;
};

/// Does not own the socket.
class Channel {
 public:
  explicit Channel(int socket) : socket_(socket) {}

  /// Kept until there is enough for a system call, or flush(). Both are silent
  /// where nobody listens any more: receive() will tell.
  void send(std::uint8_t kind, const WireWriter& payload = {});
  void flush();

  /// The next message, nothing where the other side has closed. Throws Error
  /// after `patience` milliseconds without a byte (-1: never) and where a
  /// message is longer than any can be.
  std::optional<Message> receive(int patience);

 private:
  bool fill(int patience);  // incoming_; false at the end
  std::optional<std::vector<std::byte>> take(std::size_t bytes, int patience);

  int socket_;
  std::vector<std::byte> outgoing_;
  std::vector<std::byte> incoming_;
  std::size_t taken_ = 0;  // of incoming_
};

}  // namespace kvtape
