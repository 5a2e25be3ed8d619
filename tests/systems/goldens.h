// Recorded cases of the real systems (testdata/systems), and tensors of them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kvtape/tensor.h"

namespace kvtape::test {

/// The cases of a file: "transformerlens".
nlohmann::json cases_of(const std::string& group);
/// The case of that id; fails the test if there is none.
nlohmann::json case_of(const std::string& group, const std::string& id);

/// An array of a case. Axes by rank: batch; batch, position; batch, position,
/// head, dim; with `mask`, batch, head, token, position.
Tensor tensor_of(const nlohmann::json& array, bool mask = false);

Tensor int_row(const std::vector<std::int32_t>& numbers);

/// Any shape [batch, position, head, dim], numbers none twice.
Tensor counted(const std::vector<std::int64_t>& shape,
               DType dtype = DType::kF32, float from = 1);

/// Same dtype, sizes and bits, whatever the order of axes in memory.
bool same(const Tensor& a, const Tensor& b);

}  // namespace kvtape::test
