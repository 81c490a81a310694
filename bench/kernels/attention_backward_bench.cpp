#include "bench/kernels/attention_backward_bench.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "bench/kernels/attention_backward_check.h"
#include "bench/kernels/attention_backward_peer.h"
#include "bench/kernels/attention_entries.h"
#include "seer/ops.h"

namespace seer::bench {
namespace {

// Seer's backward under one mask, with its forward done and checked.
class Backward {
 public:
  Backward(const AttentionProblem& problem, at::Tensor grad_out, std::optional<at::Tensor> mask)
      : problem_(problem), mask_(std::move(mask)) {
    gradient_.grad_out = std::move(grad_out);
    std::tie(gradient_.out, gradient_.lse) =
        block_sparse_attention(problem.q, problem.k, problem.v, mask_, problem.blocks.block_size);
  }

  const at::Tensor& out() const { return gradient_.out; }

  AttentionGradient call() const {
    AttentionGradient result = gradient_;
    std::tie(result.q, result.k, result.v) = block_sparse_attention_backward(
        gradient_.grad_out, std::nullopt, problem_.q, problem_.k, problem_.v, gradient_.out,
        gradient_.lse, mask_, problem_.blocks.block_size);
    return result;
  }

 private:
  const AttentionProblem& problem_;
  std::optional<at::Tensor> mask_;
  AttentionGradient gradient_;  // without the gradients of q, k and v
};

std::vector<BenchEntry> checked_entries(const AttentionBenchOptions& options,
                                        const AttentionProblem& problem, const at::Tensor& grad_out,
                                        const std::vector<AttentionBackwardPeer>& peers,
                                        const std::function<void()>& before_call) {
  const CausalBlocks& blocks = problem.blocks;
  const auto agree = [&](BenchEntry& entry, const Difference& difference, double slack = 1) {
    require_agreement(difference, options.dtype, entry.measurement.name, slack);
    entry.measurement.max_difference =
        std::max(entry.measurement.max_difference, difference.absolute);
  };
  const auto checked = [&](const std::string& name, double density,
                           const std::optional<at::Tensor>& mask, const at::Tensor& kept) {
    before_call();
    const Backward backward(problem, grad_out, mask);
    BenchEntry entry = masked_entry(problem, name, density, kept, [backward] { backward.call(); });
    agree(entry, compare_some_blocks(problem, kept, backward.out(), {}, options.seed));
    before_call();
    agree(entry, compare_some_gradients(problem, kept, backward.call(), options.seed));
    return entry;
  };
  std::vector<BenchEntry> entries;

  const at::Tensor every_block = at::ones({1, 1, blocks.num_q_blocks(), blocks.num_kv_blocks()},
                                          at::TensorOptions(at::kBool).device(options.device));
  BenchEntry dense = checked("dense", 1, std::nullopt, every_block);
  {
    const AttentionGradient ours = Backward(problem, grad_out, std::nullopt).call();
    for (const AttentionBackwardPeer& peer : peers) {
      BenchEntry entry = dense;
      entry.measurement.name = peer.name;
      entry.measurement.form = peer.form;
      entry.call = [&peer] { peer.call(); };
      before_call();
      // LibTorch rounds probabilities and their gradients, and each head's gradients before they are summed: 0.9 % of the
      // norm at 8,192 tokens in bfloat16, growing with the length.
      const double slack = options.dtype == at::kFloat ? 1 : 4;
      agree(dense, compare_gradients(ours, peer.call()), slack);
      entries.push_back(std::move(entry));
    }
  }
  entries.push_back(std::move(dense));
  for (const double density : sparse_densities(options)) {
    const at::Tensor mask = random_block_mask(blocks, options.batch, options.num_q_heads, density,
                                              options.seed, options.device);
    entries.push_back(checked("sparse", density, mask, mask));
  }
  for (const NamedMask& mask : options.masks) {
    entries.push_back(checked(mask.name, count_kept(blocks, mask.block_mask).density,
                              mask.block_mask, mask.block_mask));
  }
  return entries;
}

}  // namespace

AttentionBenchResult run_attention_backward_bench(
    const AttentionBenchOptions& options, const std::function<void()>& before_call,
    const std::function<void(const std::string&)>& say) {
  at::set_num_threads(options.threads);  // before any parallel work
  const c10::NoGradGuard no_grad;
  AttentionBenchResult result;
  result.options = options;
  result.machine = describe_machine(options.device);

  const AttentionProblem problem = random_problem(options);
  const at::Tensor grad_out = at::randn_like(problem.q);
  say("running the forward passes and checking the gradients");
  const std::vector<AttentionBackwardPeer> peers =
      attention_backward_peers(grad_out, problem.q, problem.k, problem.v);
  result.sdpa_form = peers.front().form;
  std::vector<BenchEntry> entries = checked_entries(options, problem, grad_out, peers, before_call);
  constexpr double kProducts = 5;  // q k^T, grad_out v^T, and those of the three gradients
  time_entries(entries, peers.size(), kProducts, before_call, say, result);
  return result;
}

}  // namespace seer::bench
