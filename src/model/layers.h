// The layers of a decoder without state: parameters and how they act on rows.
#pragma once

#include <ATen/core/Tensor.h>

namespace seer {

struct RmsNorm {
  at::Tensor weight;  // [width]
  double eps = 1e-6;

  // Over the last dimension. Statistics in float32; the normalised row is rounded to the input's dtype before the
  // weight multiplies it.
  at::Tensor operator()(const at::Tensor& x) const;
};

struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out] or undefined

  at::Tensor operator()(const at::Tensor& x) const;
  // sum [rows, out] += this layer of x [rows, in]. On a GPU the product itself adds, before it rounds.
  void add_to(const at::Tensor& sum, const at::Tensor& x) const;
};

// down(silu(gate(x)) * up(x))
struct Mlp {
  Linear gate_up;  // the rows of gate, then those of up
  Linear down;

  // sum [rows, hidden] += this layer of x [rows, hidden].
  void add_to(const at::Tensor& sum, const at::Tensor& x) const;
};

}  // namespace seer
