// What an insertion did, as text and JSON.
#pragma once

#include <string>

#include "kvtape/insert.h"
#include "report/style.h"

namespace kvtape {

struct InsertFiles {
  std::string cache;
  std::string other;
  std::string output;
};

std::string insert_text(const InsertReport& report, const InsertFiles& files,
                        const TextStyle& style);

/// "schema": "kvtape.insert/1".
std::string insert_json(const InsertReport& report, const InsertFiles& files);

}  // namespace kvtape
