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
  bool in_text = false;         // they were checked and not kept
  std::int64_t first = 0;       // of the text, else in the store; bytes
  std::int64_t text_bytes = 0;  // in the document
};

/// What a document holds, in the order of HDF5: groups before what they hold,
/// names in natural order.
struct JsonDocument {
  std::vector<StoredObject> objects;
  std::vector<JsonElements> elements;  // of every object
};

/// Reads a document to its end. Elements go to the store, but for those that a
/// file has in base64, where they are found again. Throws Error, without naming
/// the file.
JsonDocument read_document(TextStream& text, TensorStore& store);

}  // namespace kvtape
