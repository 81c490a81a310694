#include "bench/support/compute_peak.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include <cstdint>
#include <memory>

#include "base/cpu_isa.h"
#include "bench/support/fma_peak.h"

namespace seer::bench {
namespace {

constexpr double kPeakSeconds = 0.05;  // of one run on the CPU
constexpr std::int64_t kProductSize = 8192;

ComputePeak cpu_peak(c10::ScalarType dtype, int threads) {
  const CpuIsa isa = cpu_isa();
  const FmaKind kind = fma_kind(isa, dtype == c10::kBFloat16);
  const auto peak = std::make_shared<FmaPeak>(kind, isa, threads, kPeakSeconds);
  return {.kind = fma_kind_name(kind), .flops = peak->flops(), .run = [peak] { peak->run(); }};
}

ComputePeak gpu_peak(c10::Device device, c10::ScalarType dtype) {
  const at::TensorOptions tensors = at::TensorOptions(dtype).device(device);
  // Random numbers: a GPU draws less power with equal ones, and runs faster than it ever does.
  const at::Tensor a = at::randn({kProductSize, kProductSize}, tensors);
  const at::Tensor b = at::randn({kProductSize, kProductSize}, tensors);
  at::Tensor out = at::empty({kProductSize, kProductSize}, tensors);
  const auto size = static_cast<double>(kProductSize);
  return {.kind = fmt::format("matrix product of {0} x {0} x {0}", kProductSize),
          .flops = 2 * size * size * size,
          .run = [a, b, out]() mutable { at::mm_out(out, a, b); }};
}

}  // namespace

ComputePeak compute_peak(c10::Device device, c10::ScalarType dtype, int threads) {
  return device.is_cpu() ? cpu_peak(dtype, threads) : gpu_peak(device, dtype);
}

}  // namespace seer::bench
