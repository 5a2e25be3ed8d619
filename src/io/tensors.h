// Datasets as tensors, by the role that their place in the file gives them.
#pragma once

#include <string_view>

#include "io/axes_text.h"
#include "io/fields.h"
#include "io/sources.h"

namespace kvtape {

/// What stands at a place: axes in their usual order, "batch,position"; others
/// than batch and head must be there.
struct Role {
  std::string_view axes;
  bool floats = false;  // else integers
  bool checked = true;  // its dtype, here: validate() checks the others
};
inline constexpr Role kKeyRole{"batch,position,head,dim", true, false};
inline constexpr Role kStackRole{"layer,batch,position,head,dim", true, false};
inline constexpr Role kRowRole{"batch", false, false};
inline constexpr Role kSlotRole{"batch,position", false, false};
inline constexpr Role kStepRole{"step", false, false};
inline constexpr Role kTokenRole{"batch,token", false, false};
inline constexpr Role kMaskRole{"batch,token,position", false, false};
inline constexpr Role kFullMaskRole{"batch,head,token,position", false, false};
inline constexpr Role kTraceRole{"batch,token,head,dim", true, true};

/// "float16" or "f16"; nothing where the word is no floating point dtype.
std::optional<DType> float_from_word(std::string_view word);

class TensorReader {
 public:
  TensorReader(Tree& tree, Sources& sources, std::vector<Finding>& findings)
      : tree_(tree), sources_(sources), findings_(findings) {}

  /// The tensor at a place, quantized where a group stands there. Absent where
  /// nothing is there or it cannot be used (a finding; it is kept as extra).
  /// Throws Error where a size is 0 that must not be.
  std::optional<Tensor> read(const std::string& path, const Role& role);

  /// A dataset without a role, with all the axes that it names.
  Tensor extra(Node& node);

 private:
  std::optional<Tensor> plain(Node& node, const Role& role);
  std::optional<Tensor> quantized(Node& node);
  bool set_scales(Node& group, Tensor& tensor);
  bool set_codes(Node& group, Tensor& tensor);
  std::optional<std::vector<Axis>> axes_of(Node& node, const Role& role);
  std::optional<std::vector<std::string>> words_of(Node& node,
                                                   const Role& role);
  std::optional<std::vector<std::string>> guess(const Node& node,
                                                const Role& role);
  void name_axes(Node& node, std::vector<Axis>& axes);
  DType dtype_of(Node& node);
  void add(std::string rule, const Node& node, std::string field,
           std::string expected, std::string found, std::string fix);

  Tree& tree_;
  Sources& sources_;
  std::vector<Finding>& findings_;
};

}  // namespace kvtape
