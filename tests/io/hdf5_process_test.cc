// A kvtape-hdf5 that was taken over, or is broken, and what is made of it.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "io/hdf5_messages.h"
#include "io/same_tape.h"
#include "kvtape/error.h"
#include "kvtape/io.h"
#include "kvtape/json.h"
#include "kvtape/version.h"

namespace kvtape::test {
namespace {

namespace fs = std::filesystem;

// Stands in for the program: a script that says `words` and does `rest`.
class Impostor {
 public:
  explicit Impostor(const std::string& words, const std::string& rest = "") {
    fs::create_directories(folder_);
    std::ofstream(folder_ / "words", std::ios::binary) << words;
    const fs::path script = folder_ / "kvtape-hdf5";
    std::ofstream(script) << "#!/bin/sh\n/bin/cat '" << folder_.string()
                          << "/words'\n"
                          << rest << "\n";
    chmod(script.c_str(), 0700);
    setenv("KVTAPE_LIBEXEC", folder_.c_str(), 1);
  }
  ~Impostor() {
    setenv("KVTAPE_LIBEXEC", before_.c_str(), 1);
    fs::remove_all(folder_);
  }

  std::string file() const { return folder_ / "file.h5"; }

 private:
  fs::path folder_ = fs::temp_directory_path() /
                     ("kvtape_impostor." + std::to_string(getpid()));
  std::string before_ = std::getenv("KVTAPE_LIBEXEC");
};

std::string framed(Hdf5Reply reply, const WireWriter& payload) {
  const std::uint64_t bytes = payload.data().size();
  std::string text(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  text += static_cast<char>(reply);
  text.append(reinterpret_cast<const char*>(payload.data().data()), bytes);
  return text;
}

std::string hello(const std::string& version = kVersion) {
  WireWriter out;
  put(out, Hdf5Hello{.kvtape_version = version, .hdf5_version = "1.10.8"});
  return framed(Hdf5Reply::kHello, out);
}

std::string object(const StoredObject& stored) {
  WireWriter out;
  put(out, stored);
  return framed(Hdf5Reply::kObject, out);
}

StoredObject tensor(std::int64_t offset, std::int64_t bytes) {
  return {.path = "/x",
          .attributes = {},
          .dataset = StoredDataset{
              .sizes = {bytes / 4}, .offset = offset, .stored_bytes = bytes}};
}

const std::string kRoot =
    object({.path = "/", .attributes = {}, .dataset = {}});

std::string said(const std::string& words, const std::string& rest = "") {
  const Impostor impostor(words, rest);
  try {
    read_tape(made("contiguous"));
  } catch (const Error& error) {
    CHECK(std::string(error.what()).starts_with(made("contiguous")));
    return std::string(error.what()).substr(made("contiguous").size() + 2);
  }
  return "nothing was thrown";
}

TEST_CASE("a reader of HDF5 that dies is named, with its signal") {
  CHECK(said("", "kill -SEGV $$") ==
        "kvtape-hdf5 died (signal 11, Segmentation fault): the file is corrupt "
        "or hostile");
  CHECK(said(hello(), "kill -SEGV $$") ==
        "kvtape-hdf5 died (signal 11, Segmentation fault): the file is corrupt "
        "or hostile");
  CHECK(said(hello() + kRoot, "exit 3") == "kvtape-hdf5 ended with status 3");
}

TEST_CASE("a reader of HDF5 of another version is refused") {
  CHECK(said(hello("0.0.9")) == "kvtape-hdf5 is of version 0.0.9, not 0.1.0");
}

TEST_CASE("a reader of HDF5 is believed as little as a file") {
  const std::string hostile = "the file is corrupt or hostile";
  const auto ends = [&](const std::string& words) {
    return said(hello() + words).ends_with(hostile);
  };
  CHECK(ends(std::string(9, '\xff')));          // a length of 2^64
  CHECK(ends(framed(Hdf5Reply::kObject, {})));  // nothing in it
  CHECK(ends(kRoot + kRoot));                   // twice
  CHECK(ends(object({.path = "/a/b", .attributes = {}, .dataset = {}})));
  CHECK(
      ends(kRoot + object({.path = "/a/b", .attributes = {}, .dataset = {}})));
  CHECK(ends(kRoot + object({.path = "a", .attributes = {}, .dataset = {}})));
  CHECK(ends(kRoot + object({.path = "", .attributes = {}, .dataset = {}})));
  CHECK(said(hello() + kRoot + object(tensor(0, std::int64_t{1} << 40)))
            .find("inside the file of") != std::string::npos);
  CHECK(said(hello() + kRoot +
             object(tensor(std::numeric_limits<std::int64_t>::max() - 3, 4)))
            .find("inside the file of") != std::string::npos);
}

// A cache in chunks that nobody will find.
std::string chunked_cache() {
  StoredObject root{.path = "/", .attributes = {}, .dataset = {}};
  root.attributes = {{"format", std::string("kvtape")},
                     {"format_version", std::int64_t{1}}};
  StoredObject x{.path = "/x", .attributes = {}, .dataset = StoredDataset{}};
  x.dataset->sizes = {1 << 21};
  x.dataset->layout = StoredDataset::Layout::kChunked;
  x.dataset->stored_bytes = 64;
  x.dataset->chunk = {1 << 16};
  x.dataset->filters = {{.kind = StoredFilter::Kind::kDeflate}};
  return hello() + object(root) + object(x) + framed(Hdf5Reply::kDone, {});
}

TEST_CASE("a reader of HDF5 that dies in the middle is told by every thread") {
  for (const int threads : {1, 2, 8}) {
    const Impostor impostor(chunked_cache(), "kill -SEGV $$");
    std::ofstream(impostor.file(), std::ios::binary)
        << std::ifstream(made("contiguous"), std::ios::binary).rdbuf()
        << std::string(1 << 13, '\0');
    const Tape tape = read_tape(impostor.file());
    for (int again = 0; again < 2; ++again) {
      std::string found;
      try {
        write_json(tape, {.threads = threads}, [](std::string_view) {});
      } catch (const Error& error) {
        found = error.what();
      }
      CHECK(found == impostor.file() +
                         ": /x: kvtape-hdf5 died (signal 11, Segmentation "
                         "fault): the file is corrupt or hostile");
    }
  }
}

TEST_CASE("random messages are refused or understood, and nothing else") {
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    WireWriter out;
    put(out, tensor(64, 256));
    std::vector<std::byte> bytes(out.data().begin(), out.data().end());
    for (int i = 0; i < 3; ++i)
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    bytes.resize(bytes.size() - (random() % 4 == 0 ? random() % 32 : 0));
    try {
      WireReader in(bytes);
      const StoredObject read = get_object(in);
      WireWriter again;
      put(again, read);
      REQUIRE(again.data().size() <= bytes.size());
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace kvtape::test
