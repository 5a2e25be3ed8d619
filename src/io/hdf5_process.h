// kvtape-hdf5, the program in which libhdf5 runs: started, asked, ended. What
// it says is believed as little as a file.
#pragma once

#include <sys/types.h>

#include <optional>

#include "io/channel.h"
#include "io/hdf5_messages.h"
#include "io/input_file.h"
#include "kvtape/error.h"

namespace kvtape {

class Hdf5Process {
 public:
  /// `input`: the one file that it can read; null: none. Throws Error where it
  /// cannot be started.
  explicit Hdf5Process(const InputFile* input);
  ~Hdf5Process();
  Hdf5Process(const Hdf5Process&) = delete;
  Hdf5Process& operator=(const Hdf5Process&) = delete;

  const Hdf5Hello& hello() const { return hello_; }

  /// Sent with the next receive() at the latest.
  void send(Hdf5Request request, const WireWriter& payload = {});

  /// The payload of the answer, which is one of `expected`; the second is told
  /// by `kind`. Throws Error: its own, or that it died or does not answer.
  std::vector<std::byte> receive(Hdf5Reply expected);
  Message receive();

 private:
  void start(const InputFile* input);
  Error cause_of_death();
  void check_alive() const;
  int end();  // status of the process

  int socket_ = -1;
  pid_t process_ = -1;
  Channel channel_{-1};
  Hdf5Hello hello_;
  bool is_lost_ = false;        // a part of an answer was taken
  std::optional<Error> death_;  // said again to whoever asks later
};

}  // namespace kvtape
