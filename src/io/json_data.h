// The elements of a tensor in a document of JSON: a list of numbers, or base64.
#pragma once

#include "io/json_tensor.h"
#include "io/tensor_store.h"
#include "io/text_stream.h"

namespace kvtape {

/// Reads the elements that stand next in the text, and keeps them in the store,
/// if there is one. Takes memory as they come, so that a shape alone costs
/// nothing. Throws Error, with the place in the text, where they are not those
/// of the tensor.
void read_elements(TextStream& text, const JsonTensor& tensor,
                   TensorStore* store);

}  // namespace kvtape
