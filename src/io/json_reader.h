// Cache files in JSON, man/kvtape-json.5.
#pragma once

#include <memory>

#include "io/input_file.h"
#include "io/text_stream.h"
#include "kvtape/tape.h"

namespace kvtape {

struct JsonTape {
  Tape tape;
  bool is_record = false;  // of metadata, as EasyDeL's to_json writes it
};

/// Reads a document or a record. The tensors' bytes are kept; `input` is the
/// file they come from. Throws Error, without naming the file.
JsonTape read_json_tape(TextStream& text,
                        std::shared_ptr<const InputFile> input);

}  // namespace kvtape
