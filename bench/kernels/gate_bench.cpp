#include "bench/kernels/gate_bench.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>

#include "base/selection_policy.h"
#include "bench/support/cache_flush.h"
#include "bench/support/compute_peak.h"
#include "seer/gate.h"
#include "seer/ops.h"
#include "seer/rope.h"

namespace seer::bench {
namespace {

constexpr std::int64_t kMaxLength = std::int64_t{1} << 22;
constexpr std::int64_t kMaxHeads = 1024;
constexpr int kMaxCount = 10000;

[[noreturn]] void refuse(const std::string& message) {
  throw std::invalid_argument(message);
}

void check_range(const char* flag, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value < low || value > high)
    refuse(fmt::format("{} {}: expected an integer from {} to {}", flag, value, low, high));
}

ModelConfig layer_config(const GateBenchOptions& options) {
  ModelConfig config;
  config.name = "a layer of random queries and keys";
  config.num_layers = 1;
  config.num_q_heads = options.num_q_heads;
  config.num_kv_heads = options.num_kv_heads;
  config.head_dim = options.head_dim;
  config.rope.theta = 500000.0;
  return config;
}

// One layer's queries and keys, as its projection leaves them.
class Layer {
 public:
  Layer(const GateBenchOptions& options, std::int64_t length)
      : config_(layer_config(options)),
        gate_config_(default_gate_config(options.design, config_, options.block_size)),
        gates_(gate_config_, config_),
        length_(length) {
    gates_.initialise(GateInit::kNormal, options.seed);
    gates_.to(options.device);
    at::manual_seed(options.seed);
    const auto tensor = at::TensorOptions(options.dtype).device(options.device);
    const at::Tensor projected = at::randn(
        {length, config_.num_q_heads + 2 * config_.num_kv_heads, config_.head_dim}, tensor);
    q_ = projected.narrow(1, 0, config_.num_q_heads);
    k_ = projected.narrow(1, config_.num_q_heads, config_.num_kv_heads);
    turned_q_ = at::empty({length, config_.num_q_heads, config_.head_dim}, tensor);
    turned_k_ = at::empty({config_.num_kv_heads, length, config_.head_dim}, tensor).transpose(0, 1);
    Rope rope = make_rope(config_.rope, config_.head_dim);
    rope.inv_freq = rope.inv_freq.to(options.device);
    angles_ = rope_table(rope, 0, length);
  }

  void rope() const {
    apply_rope(q_, angles_, turned_q_);
    apply_rope(k_, angles_, turned_k_);
  }

  // As SparseAttention does it in a model.
  at::Tensor select(const std::string& policy) const {
    const AttentionPooling pooling = gate().pooling();
    const auto pooled = [&](const at::Tensor& x, const at::Tensor& out, const BlockPooling& of) {
      return rope_and_pool(x, angles_.cos, angles_.sin, out, of.tokens, of.kinds);
    };
    const at::Tensor q_reps =
        gate().representatives_of_queries(pooled(q_, turned_q_, pooling.q), 0);
    const at::Tensor k_reps = gate().representatives_of_keys(pooled(k_, turned_k_, pooling.k), 0);
    const at::Tensor mask = gate().select(q_reps, k_reps, policy, {}, length_, length_);
    kept_ = count_blocks(mask);
    return mask;
  }

  // What the published design does, by LibTorch's operators: pools of whole blocks, one map on the keys, the k highest.
  at::Tensor select_by_libtorch(std::int64_t top_blocks) const {
    const std::int64_t block_size = gate_config_.block_size, blocks = length_ / block_size;
    const auto blocks_of = [&](const at::Tensor& x) {  // [heads, blocks, block_size, head_dim]
      return x.narrow(0, 0, blocks * block_size).transpose(0, 1).unflatten(1, {blocks, block_size});
    };
    const at::Tensor q = blocks_of(q_).mean(2);
    const at::Tensor keys = blocks_of(k_);
    const at::Tensor k = at::cat({keys.amax(2), keys.amin(2), keys.mean(2)}, -1)
                             .repeat_interleave(config_.num_q_heads / config_.num_kv_heads, 0);
    const at::Tensor map =
        at::empty({config_.num_q_heads, k.size(2), config_.head_dim}, k.options());
    at::Tensor scores = at::matmul(q, at::matmul(k, map).transpose(1, 2)).to(at::kFloat);
    const at::Tensor hidden = at::ones({blocks, blocks}, scores.options().dtype(at::kBool)).triu(1);
    scores = scores.masked_fill(hidden, -INFINITY);
    const at::Tensor highest =
        std::get<1>(scores.topk(std::min(top_blocks, blocks), -1, true, /*sorted=*/false));
    return at::zeros(scores.sizes(), scores.options().dtype(at::kBool))
        .scatter_(-1, highest, true)
        .masked_fill_(hidden, false);
  }

  double density(const at::Tensor& mask) const {
    const auto blocks = static_cast<double>(mask.size(-1));
    const auto heads = static_cast<double>(mask.numel()) / (blocks * blocks);
    return static_cast<double>(count_blocks(mask).item<std::int64_t>()) /
           (heads * blocks * (blocks + 1) / 2);
  }

 private:
  const Gate& gate() const { return gates_.layer(0); }

  ModelConfig config_;
  GateConfig gate_config_;
  GateSet gates_;
  std::int64_t length_;
  at::Tensor q_, k_;                // [length, heads, head_dim]
  at::Tensor turned_q_, turned_k_;  // the same, written
  RopeTable angles_;
  mutable at::Tensor kept_;
};

Samples difference(const Samples& a, const Samples& b) {
  Samples result;
  for (std::size_t i = 0; i < a.seconds.size(); ++i)
    result.seconds.push_back(a.seconds[i] - b.seconds[i]);
  return result;
}

}  // namespace

void check_gate_bench(const GateBenchOptions& options) {
  check_range("--heads", options.num_q_heads, 1, kMaxHeads);
  check_range("--kv-heads", options.num_kv_heads, 1, kMaxHeads);
  if (options.num_q_heads % options.num_kv_heads != 0) {
    refuse(fmt::format("--heads {}: expected a multiple of --kv-heads {}", options.num_q_heads,
                       options.num_kv_heads));
  }
  for (const std::int64_t length : options.lengths)
    check_range("--seq", length, options.block_size, kMaxLength);
  check_range("--repeats", options.repeats, 1, kMaxCount);
  check_range("--warmup", options.warmup, 0, kMaxCount);
  for (const std::string& text : options.policies) {
    const SelectionPolicy policy = SelectionPolicy::parse(text);
    if (policy.source != PolicySource::kGate || policy.rule == PolicyRule::kDensity) {
      refuse(
          fmt::format("--policy {}: expected one of a gate by ratio, threshold, mass or budget; "
                      "gates of random weights have no calibration",
                      text));
    }
  }
  const Layer smallest(options, options.block_size);  // refuses a design or head_dim
  const AttentionPooling pooling =
      make_gate(default_gate_config(options.design, layer_config(options), options.block_size),
                layer_config(options))
          ->pooling();
  if (!pooling.q.is_wanted() || !pooling.k.is_wanted())
    refuse(fmt::format("--design {}: expected one that pools queries and keys", options.design));
}

GateBenchResult run_gate_bench(const GateBenchOptions& options,
                               const std::function<void()>& before_call,
                               const std::function<void(const std::string&)>& say) {
  // Calls run as a model's do. The gates are made outside of it: what is prepared of their maps is kept only there.
  const auto as_in_a_model = [](const auto& call) {
    return [call] {
      const c10::InferenceMode inference;
      return call();
    };
  };
  GateBenchResult result;
  result.options = options;
  result.machine = describe_machine(options.device);
  const CacheFlush flush(options.device);
  // Work ahead of each call, so that the GPU never waits for the launches that are timed.
  const ComputePeak ahead = compute_peak(options.device, options.dtype, default_threads());
  for (const std::int64_t length : options.lengths) {
    const Layer layer(options, length);
    std::vector<Subject> subjects = {{"rope", as_in_a_model([&layer] { layer.rope(); })}};
    const auto first = static_cast<std::ptrdiff_t>(result.measurements.size());
    for (const std::string& policy : options.policies) {
      const auto select = as_in_a_model([&layer, policy] { return layer.select(policy); });
      subjects.push_back({policy, select});
      result.measurements.push_back({.name = policy,
                                     .length = length,
                                     .density = layer.density(select()),
                                     .with_rope = {},
                                     .rope = {},
                                     .gate = {}});
      const SelectionPolicy parsed = SelectionPolicy::parse(policy);
      const bool has_peer = std::any_of(subjects.begin(), subjects.end(),
                                        [](const Subject& of) { return of.name == "libtorch"; });
      if (parsed.rule != PolicyRule::kRatio || has_peer) continue;
      const std::int64_t top_blocks = blocks_of_ratio(parsed.value, length / options.block_size);
      const auto peer = as_in_a_model([&layer, top_blocks] {
        layer.rope();
        return layer.select_by_libtorch(top_blocks);
      });
      subjects.push_back({"libtorch", peer});
      result.measurements.push_back({.name = "libtorch",
                                     .length = length,
                                     .density = layer.density(peer()),
                                     .with_rope = {},
                                     .rope = {},
                                     .gate = {}});
    }
    const std::vector<Samples> samples = time_alternating(
        subjects, options.device, options.warmup, options.repeats,
        [&] {
          before_call();
          if (options.device.is_cuda()) ahead.run();
          flush();
        },
        [&](int done, int all, double seconds_left) {
          say(fmt::format("{} tokens: round {} of {}, about {:.0f} s left", length, done, all,
                          seconds_left));
        });
    for (std::size_t i = 1; i < subjects.size(); ++i) {
      GateMeasurement& measurement =
          *(result.measurements.begin() + first + static_cast<std::ptrdiff_t>(i) - 1);
      measurement.with_rope = samples[i];
      measurement.rope = samples[0];
      measurement.gate = difference(samples[i], samples[0]);
    }
  }
  return result;
}

}  // namespace seer::bench
