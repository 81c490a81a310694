#include "seer/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rsub.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "seer/ops.h"

namespace seer {
namespace {

// theta ^ (2 i / head_dim)
at::Tensor position_periods(double theta, std::int64_t head_dim) {
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::kFloat) / head_dim;
  return at::pow(at::Scalar(theta), exponents);
}

at::Tensor llama3_inv_freq(const RopeConfig& config, const at::Tensor& inv_freq) {
  const double original = static_cast<double>(config.original_max_positions);
  const double low_freq_wavelength = original / config.low_freq_factor;
  const double high_freq_wavelength = original / config.high_freq_factor;
  const at::Tensor wavelength = inv_freq.reciprocal() * (2 * std::numbers::pi);
  const at::Tensor scaled =
      at::where(wavelength > low_freq_wavelength, inv_freq / config.factor, inv_freq);
  const at::Tensor smooth = (wavelength.reciprocal() * original - config.low_freq_factor) /
                            (config.high_freq_factor - config.low_freq_factor);
  const at::Tensor smoothed = at::rsub(smooth, 1) * scaled / config.factor + smooth * scaled;
  const at::Tensor is_medium =
      (wavelength >= high_freq_wavelength).logical_and(wavelength <= low_freq_wavelength);
  return at::where(is_medium, smoothed, scaled);
}

// The dimension whose frequency makes `rotations` turns within the original length.
double yarn_correction_dim(const RopeConfig& config, double rotations, std::int64_t head_dim) {
  const double original = static_cast<double>(config.original_max_positions);
  return static_cast<double>(head_dim) * std::log(original / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(config.theta));
}

at::Tensor yarn_inv_freq(const RopeConfig& config, std::int64_t head_dim) {
  double low = yarn_correction_dim(config, config.beta_fast, head_dim);
  double high = yarn_correction_dim(config, config.beta_slow, head_dim);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;  // no division by zero

  const at::Tensor periods = position_periods(config.theta, head_dim);
  const at::Tensor extrapolated = periods.reciprocal();
  const at::Tensor interpolated = (periods * config.factor).reciprocal();
  const at::Tensor ramp = ((at::arange(head_dim / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const at::Tensor kept = at::rsub(ramp, 1);  // 1: as without scaling
  return interpolated * at::rsub(kept, 1) + extrapolated * kept;
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double yarn_attention_scale(const RopeConfig& config) {
  if (config.attention_factor) return *config.attention_factor;
  const double mscale = config.mscale.value_or(0);
  const double mscale_all_dim = config.mscale_all_dim.value_or(0);
  if (mscale != 0 && mscale_all_dim != 0) {
    return yarn_mscale(config.factor, mscale) / yarn_mscale(config.factor, mscale_all_dim);
  }
  return yarn_mscale(config.factor, 1);
}

}  // namespace

Rope make_rope(const RopeConfig& config, std::int64_t head_dim) {
  if (config.kind == RopeKind::kYarn) {
    return {.inv_freq = yarn_inv_freq(config, head_dim),
            .attention_scale = yarn_attention_scale(config)};
  }
  at::Tensor inv_freq = position_periods(config.theta, head_dim).reciprocal();
  if (config.kind == RopeKind::kLinear) inv_freq = inv_freq / config.factor;
  if (config.kind == RopeKind::kLlama3) inv_freq = llama3_inv_freq(config, inv_freq);
  return {.inv_freq = std::move(inv_freq), .attention_scale = 1.0};
}

RopeTable rope_table(const Rope& rope, std::int64_t first_position, std::int64_t num_positions,
                     std::int64_t step) {
  const at::Tensor positions = at::arange(first_position, first_position + num_positions * step,
                                          step, rope.inv_freq.options());
  const at::Tensor angles = positions.unsqueeze(1) * rope.inv_freq;
  RopeTable table{.cos = angles.cos(), .sin = angles.sin()};
  if (rope.attention_scale != 1.0) {
    table.cos.mul_(rope.attention_scale);
    table.sin.mul_(rope.attention_scale);
  }
  return table;
}

void apply_rope(const at::Tensor& x, const RopeTable& table, const at::Tensor& out) {
  seer::rope(x, table.cos, table.sin, out);
}

}  // namespace seer
