// Tensors as JSON: their members, and their elements in any encoding.
#pragma once

#include "io/json_writer.h"
#include "io/tensor_pass.h"

namespace kvtape {

/// The members of a dataset, between open() and close() of its object.
/// Throws Error where the elements cannot be read or spelled.
void write_tensor(const PlannedObject& object, Encoding encoding,
                  JsonWriter& writer, TensorPass& pass);

/// The members of a summary; extremes are spelled as numbers of the dtype.
void write_summary(const kernels::Summary& summary, DType dtype,
                   JsonWriter& writer);

/// A number of any dtype as append_numbers() spells it. Requires one that the
/// dtype has.
std::string number_of(double value, DType dtype);

/// Attributes as the member "attributes", but for those of these names; none
/// where no other is left.
void write_attributes(const PlannedObject& object,
                      std::initializer_list<std::string_view> known,
                      JsonWriter& writer);

/// ["batch", "position"]
std::string words_json(const std::vector<std::string>& words);

}  // namespace kvtape
