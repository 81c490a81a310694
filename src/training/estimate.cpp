#include "training/estimate.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "model/memory_estimate.h"
#include "seer/device.h"

namespace seer {

PassOperations operations_of_a_pass(const ModelConfig& model, std::int64_t length) {
  const ParameterCount parameters = count_parameters(model);
  const double tokens = static_cast<double>(length);
  return {.products = 2 * static_cast<double>(parameters.total - parameters.embedding) * tokens,
          .attention = 4 * 0.5 * tokens * tokens *
                       static_cast<double>(model.num_q_heads * model.head_dim * model.num_layers)};
}

double measured_speed(const at::TensorOptions& tensors) {
  const c10::InferenceMode inference;
  const bool is_cpu = tensors.device().is_cpu();
  const std::int64_t size = is_cpu ? 1024 : 8192;
  constexpr double kLeastSeconds = 0.2;
  // Numbers that differ: a GPU is slower with them than with equal ones.
  const at::Tensor a = at::randn({size, size}, tensors);
  at::mm(a, a);
  synchronize(a.device());
  const auto start = std::chrono::steady_clock::now();
  double seconds = 0;
  int runs = 0;
  do {
    at::mm(a, a);
    synchronize(a.device());
    ++runs;
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  } while (seconds < kLeastSeconds);
  const auto edge = static_cast<double>(size);
  return 2 * edge * edge * edge * runs / seconds;
}

std::string gigabytes_text(double bytes) {
  return fmt::format("{:.2f} GB", bytes / 1e9);
}

std::string duration_text(double seconds) {
  if (seconds < 5400) return fmt::format("{:.0f} minutes", std::max(1.0, seconds / 60));
  return fmt::format("{:.1f} hours", seconds / 3600);
}

}  // namespace seer
