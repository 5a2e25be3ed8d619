// What penzai's sublayers compute, one rounding per operation.
#include "kvtape/penzai_layers.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/elementary.h"
#include "kvtape/error.h"
#include "systems/penzai_array.h"

namespace kvtape::penzai {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

constexpr double kLog2E = 0x1.71547652b82fep+0;

double natural_exp(double x) { return kernels::exp2(x * kLog2E); }

// Lambert's fraction where 1 - 2 / (e^2x + 1) would cancel.
double hyperbolic_tangent(double x) {
  constexpr double kSmall = 0.5;
  constexpr double kLast = 21;
  if (!(std::fabs(x) < kSmall)) return 1 - 2 / (natural_exp(2 * x) + 1);
  double fraction = kLast;
  for (double odd = kLast - 2; odd >= 1; odd -= 2)
    fraction = odd + x * x / fraction;
  return x / fraction;
}

const NamedArray& side_input(const SideInputs& inputs,
                             const std::string& name) {
  const auto found = inputs.find(name);
  if (found == inputs.end())
    throw Error({.field = "side input", .text = "no '" + name + "' is given"});
  return found->second;
}

// Axes that stay, with those of `last` after them, as penzai untags and tags.
NamedShape moved_last(const Values& x, const std::vector<std::string>& last) {
  NamedShape axes = without(x.axes, last);
  for (const std::string& name : last) {
    const auto size = size_of(x.axes, name);
    if (!size)
      throw Error({.field = "axes",
                   .expected = "an axis '" + name + "'",
                   .found = dict_text(x.axes)});
    axes.push_back({.name = name, .size = *size});
  }
  return axes;
}

Values renamed(Values x, const std::string& from, const std::string& to) {
  for (NamedAxis& axis : x.axes)
    if (axis.name == from) axis.name = to;
  return x;
}

// jnp.where: the mask's axes come first.
Values masked(const Values& mask, const Values& x, const Constant& out) {
  const DType dtype = promoted(x.dtype, out.dtype);
  const double replacement = rounded(rounded(out.value, out.dtype), dtype);
  return combined("where", mask, x, dtype, [&](double seen, double logit) {
    return seen != 0 ? logit : replacement;
  });
}

Values apply(const Linear& layer, const Values& x, const SideInputs&) {
  return contract(layer.in_axis_names, x, values_of(layer.weights));
}

// Cosines and sines of one position, [2, half].
void add_angles(double position, std::int64_t dim, double wavelength,
                DType dtype, std::vector<double>& to) {
  const std::int64_t half = dim / 2;
  const std::size_t first = to.size();
  to.resize(first + at(2 * half));
  for (std::int64_t i = 0; i < half; ++i) {
    const double fraction =
        rounded(2 * static_cast<double>(i) / static_cast<double>(dim), dtype);
    const double timescale =
        rounded(kernels::exp2(fraction * kernels::log2(wavelength)), dtype);
    const auto angle =
        kernels::sin_cos(rounded(rounded(position, dtype) / timescale, dtype));
    to[first + at(i)] = rounded(angle.cosine, dtype);
    to[first + at(half + i)] = rounded(angle.sine, dtype);
  }
}

void rotate(const double* angles, std::int64_t half, DType dtype, double* row) {
  for (std::int64_t i = 0; i < half; ++i) {
    const double a = row[i], b = row[half + i];
    const double cosine = angles[i], sine = angles[half + i];
    row[i] =
        rounded(rounded(a * cosine, dtype) - rounded(b * sine, dtype), dtype);
    row[half + i] =
        rounded(rounded(b * cosine, dtype) + rounded(a * sine, dtype), dtype);
  }
}

Values apply(const ApplyRoPE& layer, const Values& x,
             const SideInputs& inputs) {
  const Values positions = values_of(side_input(inputs, layer.positions));
  const NamedShape axes = moved_last(x, {layer.embedding_axis});
  const std::int64_t dim = axes.back().size;
  if (dim % 2 != 0)
    throw Error({.field = "axis '" + layer.embedding_axis + "'",
                 .expected = "an even size",
                 .found = std::to_string(dim)});
  NamedShape rows = axes;
  rows.pop_back();
  if (all_axes("_apply_1d", rows, positions.axes) != rows)
    throw Error({.field = layer.positions,
                 .expected = "axes of " + dict_text(rows),
                 .found = dict_text(positions.axes)});
  const DType dtype = promoted(x.dtype, DType::kF32);
  std::vector<double> angles;
  for (const double position : positions.values)
    add_angles(position, dim, layer.max_wavelength, dtype, angles);
  // The number of each row's position, by the same way the rows go.
  Values number{.dtype = DType::kF64, .axes = positions.axes};
  for (std::size_t i = 0; i < positions.values.size(); ++i)
    number.values.push_back(static_cast<double>(i));
  number = ordered(number, rows);
  Values result = ordered(x, axes);
  for (std::size_t row = 0; row < number.values.size(); ++row)
    rotate(
        angles.data() + at(static_cast<std::int64_t>(number.values[row]) * dim),
        dim / 2, dtype, result.values.data() + row * at(dim));
  for (double& value : result.values) value = rounded(value, x.dtype);
  return result;
}

Values apply(const ConstantRescale& layer, const Values& x, const SideInputs&) {
  const double by = rounded(layer.by.value, layer.by.dtype);
  Values result = x;
  result.dtype = promoted(x.dtype, layer.by.dtype);
  for (double& value : result.values) value = rounded(value * by, result.dtype);
  return result;
}

Values apply(const RMSStandardize& layer, const Values& x, const SideInputs&) {
  Values result = ordered(x, moved_last(x, layer.across));
  NamedShape across;
  for (const std::string& name : layer.across)
    across.push_back({name, *size_of(x.axes, name)});
  const std::size_t count = at(count_of(across));
  const double epsilon = rounded(layer.epsilon, x.dtype);
  for (std::size_t first = 0; first < result.values.size(); first += count) {
    double sum = 0;
    for (std::size_t i = first; i < first + count; ++i)
      sum += rounded(result.values[i] * result.values[i], x.dtype);
    const double mean =
        rounded(rounded(sum, x.dtype) / static_cast<double>(count), x.dtype);
    const double root =
        rounded(std::sqrt(rounded(mean + epsilon, x.dtype)), x.dtype);
    const double factor = rounded(1 / root, x.dtype);
    for (std::size_t i = first; i < first + count; ++i)
      result.values[i] = rounded(result.values[i] * factor, x.dtype);
  }
  return result;
}

Values apply(const NamedEinsum&, const Values&, const SideInputs&) {
  throw Error({.field = "NamedEinsum",
               .expected = "two arrays",
               .found = "the result of a sublayer"});
}

Values apply(const TanhSoftCap& layer, const Values& x, const SideInputs&) {
  const double cap = rounded(layer.soft_cap.value, layer.soft_cap.dtype);
  Values result = x;
  const DType dtype = promoted(x.dtype, layer.soft_cap.dtype);
  result.dtype = dtype;
  for (double& value : result.values)
    value = rounded(
        cap * rounded(hyperbolic_tangent(rounded(value / cap, dtype)), dtype),
        dtype);
  return result;
}

Values apply(const ApplyAttentionMask& layer, const Values& x,
             const SideInputs& inputs) {
  return masked(values_of(side_input(inputs, layer.mask)), x,
                layer.masked_out_value);
}

// A mask of [..., seq, kv_seq] from a test of the query's and key's positions.
template <typename Layer, typename Test>
Values masked_by_position(const Layer& layer, const Values& x,
                          const SideInputs& inputs, const Test& test) {
  const Values query =
      values_of(side_input(inputs, layer.query_positions_input_name));
  const Values key =
      renamed(values_of(side_input(inputs, layer.kv_positions_input_name)),
              layer.seq_axis, layer.kv_seq_axis);
  const Values mask =
      combined("greater_equal", query, key, DType::kBool,
               [&](double q, double k) { return test(q, k) ? 1.0 : 0.0; });
  return masked(mask, x, layer.masked_out_value);
}

Values apply(const ApplyCausalAttentionMask& layer, const Values& x,
             const SideInputs& inputs) {
  return masked_by_position(layer, x, inputs, [](double query, double key) {
    return query >= key && key >= 0;
  });
}

Values apply(const ApplyCausalSlidingWindowAttentionMask& layer,
             const Values& x, const SideInputs& inputs) {
  const auto window = static_cast<double>(layer.sliding_window_size);
  return masked_by_position(layer, x, inputs, [=](double query, double key) {
    return query >= key && query - key < window && key >= 0;
  });
}

Values apply(const Softmax& layer, const Values& x, const SideInputs&) {
  Values result = ordered(x, moved_last(x, {layer.axis}));
  const std::size_t count = at(result.axes.back().size);
  for (std::size_t first = 0; first < result.values.size(); first += count) {
    double* row = result.values.data() + first;
    double largest = row[0];
    for (std::size_t i = 0; i < count; ++i)
      if (row[i] > largest || std::isnan(row[i])) largest = row[i];
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      row[i] =
          rounded(natural_exp(rounded(row[i] - largest, x.dtype)), x.dtype);
      sum += row[i];
    }
    sum = rounded(sum, x.dtype);
    for (std::size_t i = 0; i < count; ++i)
      row[i] = rounded(row[i] / sum, x.dtype);
  }
  return result;
}

// The axes that an einsum names, under the name of their index, which no axis
// of an array has.
Values indexed(Values x, const std::vector<EinsumAxis>& spec) {
  for (const EinsumAxis& each : spec) {
    if (!size_of(x.axes, each.axis))
      throw Error({.field = "axes",
                   .expected = "an axis '" + each.axis + "'",
                   .found = dict_text(x.axes)});
  }
  for (NamedAxis& axis : x.axes)
    for (const EinsumAxis& each : spec)
      if (axis.name == each.axis) {
        axis.name = "$" + each.index;
        break;
      }
  return x;
}

Values einsum(const NamedEinsum& layer, const Values& first,
              const Values& second) {
  const Values a = indexed(first, layer.first);
  const Values b = indexed(second, layer.second);
  std::vector<std::string> summed, kept;
  for (const EinsumAxis& each : layer.output) kept.push_back("$" + each.index);
  for (const EinsumAxis& each : layer.first)
    if (std::find(kept.begin(), kept.end(), "$" + each.index) == kept.end())
      summed.push_back("$" + each.index);
  Values result = contract(summed, a, b);
  result = ordered(result, moved_last(result, kept));
  const std::size_t batch = result.axes.size() - kept.size();
  for (std::size_t i = 0; i < kept.size(); ++i)
    result.axes[batch + i].name = layer.output[i].axis;
  return result;
}

Values run(const std::vector<Sublayer>& sublayers, std::size_t from, Values x,
           const SideInputs& inputs) {
  for (std::size_t i = from; i < sublayers.size(); ++i)
    x = std::visit([&](const auto& layer) { return apply(layer, x, inputs); },
                   sublayers[i]);
  return x;
}

}  // namespace

NamedArray Sequential::operator()(const NamedArray& x,
                                  const SideInputs& inputs) const {
  return array_of(run(sublayers, 0, values_of(x), inputs));
}

NamedArray Sequential::operator()(const NamedArray& first,
                                  const NamedArray& second,
                                  const SideInputs& inputs) const {
  const auto* layer =
      sublayers.empty() ? nullptr : std::get_if<NamedEinsum>(&sublayers[0]);
  if (layer == nullptr)
    throw Error({.field = "sublayers",
                 .expected = "a NamedEinsum first",
                 .found = "another"});
  return array_of(run(sublayers, 1,
                      einsum(*layer, values_of(first), values_of(second)),
                      inputs));
}

std::string text(const ArraySpec& spec) {
  std::string result = "floating[**B";
  for (const auto& dimension : spec.named_shape)
    result += ", " + dimension.axis + ": " +
              (dimension.size ? std::to_string(*dimension.size) : "any");
  return result + "]";
}

}  // namespace kvtape::penzai
