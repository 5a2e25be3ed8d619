// Reports as dicts: what the commands print with --json.
#include "kvtape/serialize.h"

#include <nlohmann/json.hpp>

#include "report/replay.h"
#include "report/validation.h"

namespace kvtape {

Dict to_dict(const ValidationReport& report, const std::string& file) {
  return Dict::parse(validation_json({{.file = file, .report = report}}));
}

Dict to_dict(const ReplayReport& report, const std::string& file) {
  return Dict::parse(replay_json(report, file));
}

}  // namespace kvtape
