// What the reader and the writer refuse, and in what words.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "io/atomic_file.h"
#include "io/same_tape.h"
#include "kvtape/error.h"
#include "kvtape/io.h"

namespace kvtape::test {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path =
      fs::temp_directory_path() / ("kvtape_refuse." + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string file(const std::string& name,
                   const std::string& text = "") const {
    std::ofstream(path / name, std::ios::binary) << text;
    return path / name;
  }
};

// The message without the file's name in front.
template <typename Action>
std::string message(const std::string& path, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(text.starts_with(path + ": "));
    CHECK(text.find('\n') == std::string::npos);
    return text.substr(std::min(path.size() + 2, text.size()));
  }
  return "nothing was thrown";
}

std::string refusal(const std::string& path) {
  return message(path, [&] { read_tape(path); });
}

TEST_CASE("files that are no HDF5 files") {
  const Folder folder;
  CHECK(refusal(folder.path / "none.h5") == "no such file");
  CHECK(refusal(folder.path) == "is a directory, not a file");
  CHECK(refusal("/dev/null") == "is a device, not a file");
  CHECK(refusal(folder.file("empty.h5")) == "file is empty");
  CHECK(refusal(folder.file("b.h5", "PK\x03\x04....")) ==
        "neither HDF5 nor JSON: it looks like a zip archive (.npz, .pt)");
  CHECK(refusal(folder.file("c.h5", "once upon a time")) ==
        "neither HDF5 nor JSON");
  const std::string pipe = folder.path / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(refusal(pipe) == "is a FIFO, not a file");
  if (geteuid() != 0) {  // root may read everything
    const std::string secret = folder.file("secret.h5", "x");
    chmod(secret.c_str(), 0);
    CHECK(refusal(secret) == "permission denied");
  }
}

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_CASE("a file cut anywhere is refused") {
  const Folder folder;
  const std::string whole = content(made("contiguous"));
  CHECK(refusal(folder.file("cut.h5", whole.substr(0, 2000))) ==
        "file is cut short: its header says " + std::to_string(whole.size()) +
            " bytes, it has 2000");
  CHECK(refusal(folder.file("cut.h5", whole.substr(0, 20))) ==
        "file is cut short: it ends inside its header");
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 97)
    CHECK(refusal(folder.file("cut.h5", whole.substr(0, bytes))) !=
          "nothing was thrown");
}

TEST_CASE("a file that its writer has not closed is refused") {
  const Folder folder;
  std::string open = content(made("contiguous"));
  open[11] = 0x01;  // consistency flags of superblock version 3
  CHECK(refusal(folder.file("open.h5", open)) ==
        "its writer has not closed this file");
}

// libhdf5 1.10 follows the sizes in a heap of texts out of it, or for ever.
struct Damage {
  std::size_t at;  // from the heap's signature on
  std::string bytes;
};

TEST_CASE("a heap of texts with damaged sizes is refused") {
  const Folder folder;
  std::string damaged = content(made("contiguous"));
  const std::size_t heap = damaged.find("GCOL");
  REQUIRE(heap != damaged.npos);
  const Damage damage = GENERATE(
      Damage{8, std::string(8, '\0')},  // the heap, of no size
      Damage{8,
             std::string("\x0f\0\0\0\0\0\0\0", 8)},  // shorter than its header
      Damage{14, "\x01"},                            // longer than the file
      Damage{24, "\xff\xff"},              // its first text, out of it
      Damage{24, std::string(8, '\xff')},  // a size that wraps around
      Damage{16, std::string(16, '\0')});  // free space of no size
  damaged.replace(heap + damage.at, damage.bytes.size(), damage.bytes);
  CHECK(refusal(folder.file("heap.h5", damaged)) != "nothing was thrown");
}

struct Refused {
  const char* file;
  const char* message;
};

TEST_CASE("objects that no cache file holds") {
  const Refused row = GENERATE(
      Refused{"no_format",
              "HDF5, but not a cache file: attribute format is not \"kvtape\""},
      Refused{"version", "format_version: expected 1, found 2"},
      Refused{"soft_link",
              "/layers/1: expected a group or a dataset of this file, found a "
              "soft link"},
      Refused{"external_link",
              "/layers/0/key: expected a group or a dataset of this file, "
              "found a link to another file"},
      Refused{"cycle",
              "/layers/0/again: expected a group of its own, found one that "
              "stands elsewhere too"},
      Refused{"depth",
              "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q: depth: expected at most 16, "
              "found more"},
      Refused{"type_compound",
              "/layers/0/key: type: expected floats of 16, 32 or 64 bits, "
              "integers or bools, found a compound"},
      Refused{"type_text",
              "/layers/0/key: type: expected floats of 16, 32 or 64 bits, "
              "integers or bools, found text"},
      Refused{"type_float24",
              "/layers/0/key: type: expected floats of 16, 32 or 64 bits, "
              "integers or bools, found a float of 24 bits of its own kind"},
      Refused{"type_packed",
              "/layers/0/key: type: expected floats of 16, 32 or 64 bits, "
              "integers or bools, found an integer of 16 bits, 12 of them "
              "used"},
      Refused{"type_enum",
              "/layers/0/key: type: expected floats of 16, 32 or 64 bits, "
              "integers or bools, found an enum"},
      Refused{"type_named",
              "/layers/0/key: expected a group or a dataset, found a named "
              "type"},
      Refused{"attribute_reference",
              "/layers/0/key: attribute where: expected a number, a bool, "
              "text, integers or None, found a reference"},
      Refused{"attribute_long",
              "/: attribute note: expected at most 65536 bytes, found more"},
      Refused{"attribute_texts",
              "/: attribute notes: expected at most 1024 texts, found 1025"},
      Refused{"attribute_shape",
              "/: attribute kind: expected one value, a list or None, found a "
              "shape of an unknown kind"},
      Refused{"none", "/layers/0/key: shape: expected numbers, found None"},
      Refused{"virtual",
              "/layers/0/key: layout: expected contiguous, chunked or compact, "
              "found virtual"},
      Refused{"external_storage",
              "/layers/0/key: storage: expected inside the file, found 1 "
              "external files"},
      Refused{"never_written",
              "/layers/0/key: data: expected 384 bytes, found never written"},
      Refused{"never_written_chunked",
              "/layers/0/key: data: expected 384 bytes, found never written"},
      Refused{"chunk",
              "/layers/0/key: chunk: expected at most 64 MiB, found [4096, "
              "8192] of f32"},
      Refused{"filter",
              "/layers/0/key: filters: expected deflate, shuffle and "
              "fletcher32, found filter number 6"},
      Refused{"no_heads",
              "/layers/0/key: shape: expected at least 1 along head, found "
              "0"});
  INFO(row.file);
  CHECK(refusal(made(std::string("refused_") + row.file)) == row.message);
}

TEST_CASE("a dataset far larger than its file is refused") {
  CHECK(refusal(made("refused_huge"))
            .starts_with("/layers/0/key: shape: expected at most "));
}

std::string damage(const char* name) {
  const std::string path = made(std::string("damaged_") + name);
  const Tensor key = *read_tape(path).cache.layers.at(0).key;
  return message(path, [&] { doubles(key); });
}

TEST_CASE("damaged chunks are refused, never filled up") {
  CHECK(damage("missing_chunk") ==
        "/layers/0/key: chunk at [1, 0, 0, 0]: never written");
  CHECK(damage("short_chunk") ==
        "/layers/0/key: chunk at [0, 0, 0, 0]: it does not inflate to 384 "
        "bytes");
  CHECK(damage("skipped_filter") ==
        "/layers/0/key: chunk at [0, 0, 0, 0]: it has 4 bytes, not 384");
  CHECK(damage("checksum") ==
        "/layers/0/key: chunk at [0, 0, 0, 0]: its checksum does not agree");
}

TEST_CASE("a short chunk without filters is refused when the file is opened") {
  CHECK(refusal(made("damaged_short_unfiltered"))
            .starts_with("/layers/0/key: data: expected 768 bytes, found "));
}

// ---- writing

std::string write_refusal(const std::string& path, WriteOptions options = {}) {
  const Tape tape = read_tape(made("contiguous"));
  return message(path, [&] { write_tape(tape, path, options); });
}

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST_CASE("what may not be written over") {
  const Folder folder;
  const std::string old = folder.file("old.h5", "precious");
  CHECK(write_refusal(old) == "exists");
  CHECK(content(old) == "precious");
  CHECK(write_refusal(folder.path) == "is a directory, not a file");
  CHECK(write_refusal("/dev/full", {.force = true}) ==
        "is a device, not a file");
  CHECK(write_refusal(folder.path / "no/where.h5") ==
        "cannot write: no such folder");
  CHECK(files_in(folder.path) == 1);
  CHECK(write_refusal(old, {.force = true}) == "nothing was thrown");
  CHECK(read_tape(old).cache.layers.size() == 1);
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("the input is not replaced, under any of its names") {
  const Folder folder;
  const std::string path = folder.path / "in.h5";
  fs::copy_file(made("contiguous"), path);
  fs::create_hard_link(path, folder.path / "hard.h5");
  fs::create_symlink(path, folder.path / "soft.h5");
  const Tape tape = read_tape(path);
  for (const char* name : {"in.h5", "hard.h5", "soft.h5"}) {
    const std::string out = folder.path / name;
    CHECK(message(out, [&] { write_tape(tape, out, {.force = true}); }) ==
          "is the file that is read");
  }
}

TEST_CASE("a symbolic link stays one") {
  const Folder folder;
  const std::string target = folder.file("target.h5", "old");
  const std::string link = folder.path / "link.h5";
  fs::create_symlink(target, link);
  CHECK(write_refusal(link, {.force = true}) == "nothing was thrown");
  CHECK(fs::is_symlink(link));
  CHECK(read_tape(target).cache.layers.size() == 1);
}

TEST_CASE("a full disk leaves what was there, and nothing else") {
  const Folder folder;
  const std::string old = folder.file("old.h5", "precious");
  signal(SIGXFSZ, SIG_IGN);
  for (const bool compress : {false, true})
    for (const rlim_t most : {rlim_t{0}, rlim_t{100}, rlim_t{1500}}) {
      rlimit before{};
      getrlimit(RLIMIT_FSIZE, &before);
      const rlimit low{most, before.rlim_max};
      setrlimit(RLIMIT_FSIZE, &low);
      const std::string said =
          write_refusal(old, {.force = true, .compress = compress});
      setrlimit(RLIMIT_FSIZE, &before);
      CHECK(said == "cannot write: File too large");
      CHECK(content(old) == "precious");
      CHECK(files_in(folder.path) == 1);
    }
}

// The handler of the program says that the input has changed; "cannot write"
// would blame the output.
TEST_CASE("an input cut short while its bytes are written raises SIGBUS") {
  const Folder folder;
  const std::string in = folder.file("in.h5", std::string(16384, 'x'));
  const int descriptor = open(in.c_str(), O_RDONLY | O_CLOEXEC);
  void* at = mmap(nullptr, 16384, PROT_READ, MAP_SHARED, descriptor, 0);
  REQUIRE(at != MAP_FAILED);
  fs::resize_file(in, 100);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGBUS, SIG_DFL);
    try {
      AtomicFile out(folder.path / "out.h5", false);
      out.write(0, {static_cast<const std::byte*>(at), 16384});
    } catch (const Error&) {
    }
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS));
  munmap(at, 16384);
  close(descriptor);
}

}  // namespace
}  // namespace kvtape::test
