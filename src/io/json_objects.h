// A document of JSON as the objects of a cache file: man/kvtape-json.5.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/json_tensor.h"
#include "io/stored_object.h"
#include "io/tensor_store.h"
#include "io/text_stream.h"

namespace kvtape {

/// Where the elements of a dataset are.
struct JsonElements {
  JsonEncoding encoding = JsonEncoding::kNone;
  std::int64_t first = 0;       // in the store, bytes
  std::int64_t text_bytes = 0;  // in the document
};

/// What a document holds, in the order of HDF5: groups before what they hold,
/// names in natural order.
struct JsonDocument {
  std::vector<StoredObject> objects;
  std::vector<JsonElements> elements;  // of every object
};

/// Reads a document to its end; elements go to the store. Throws Error, without
/// naming the file.
JsonDocument read_document(TextStream& text, TensorStore& store);

}  // namespace kvtape
