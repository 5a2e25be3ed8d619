// What kvtape and kvtape-hdf5 say to each other.
#pragma once

#include "io/stored_object.h"
#include "io/wire.h"
#include "kvtape/error.h"

namespace kvtape {

/// Asked of kvtape-hdf5, with what follows, and what it answers: any may be
/// answered with kError instead.
enum class Hdf5Request : std::uint8_t {
  // Of the file that it reads
  kDescribe,    // -> kObject for each, kDone
  kFindChunks,  // object, number of the first in C order, count -> kChunks
  // Of a file that it lays out; datasets and attributes without an answer
  kCreate,    // level of deflate -> kDone
  kPut,       // object without attributes -> kPlace of its elements, -1: none
  kPutChunk,  // origin, bytes, skipped filters -> kPlace, of the last object
  kPutAttribute,  // name, value: of the last object; no answer
  kFinish,        // -> kRun for each, kPlace of the file's end
};

enum class Hdf5Reply : std::uint8_t {
  kHello,  // Hdf5Hello
  kError,  // ErrorParts
  kDone,
  kObject,  // StoredObject
  kChunks,  // ChunkPlace for each
  kPlace,   // an address in the file
  kRun,     // address, bytes
};

/// What kvtape-hdf5 says first of all.
struct Hdf5Hello {
  std::string kvtape_version;
  std::string hdf5_version;
  bool limits_memory = false;  // and time, and files
  bool filters_calls = false;  // of the system
};

/// Where a chunk stands in the file.
struct ChunkPlace {
  std::int64_t address = 0;
  std::int64_t bytes = 0;     // 0: never written, -1: it cannot be found
  std::uint32_t skipped = 0;  // bit i: filter i was not applied
};

void put(WireWriter& out, const Hdf5Hello& hello);
void put(WireWriter& out, const ErrorParts& parts);
void put(WireWriter& out, const AttributeValue& value);
void put(WireWriter& out, const StoredObject& object);
void put(WireWriter& out, const ChunkPlace& place);

/// Each throws Error where it is no such thing.
Hdf5Hello get_hello(WireReader& in);
ErrorParts get_error(WireReader& in);
AttributeValue get_attribute(WireReader& in);
StoredObject get_object(WireReader& in);
ChunkPlace get_chunk_place(WireReader& in);

}  // namespace kvtape
