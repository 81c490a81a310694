#include "bench/kernels/attention_bench.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include "base/cpu_isa.h"
#include "bench/kernels/attention_backward_bench.h"
#include "bench/kernels/attention_check.h"
#include "bench/kernels/attention_entries.h"
#include "bench/kernels/attention_masks.h"
#include "bench/kernels/attention_peer.h"
#include "seer/device.h"
#include "seer/ops.h"

namespace seer::bench {
namespace {

constexpr std::int64_t kMaxLength = std::int64_t{1} << 22;
constexpr std::int64_t kMaxHeads = 1024;
constexpr std::int64_t kMaxHeadDim = 512;
constexpr int kMaxCount = 10000;  // of threads, repeats and warm-up rounds

[[noreturn]] void refuse(const std::string& message) {
  throw std::invalid_argument(message);
}

void check_range(const char* flag, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) {
    refuse(fmt::format("{} {}: expected an integer from {} to {}", flag, value, low, high));
  }
}

void check_memory(const AttentionBenchOptions& options) {
  const std::uint64_t needed = attention_bench_memory(options);
  const std::uint64_t available = available_memory(options.device);
  if (available == 0 || needed <= available) return;
  constexpr double kGigabyte = 1e9;
  refuse(fmt::format(
      "these shapes need about {:.1f} GB of memory and {:.1f} GB are available; lower --seq ({}), "
      "--kv-seq ({}), --heads ({}) or --batch ({})",
      static_cast<double>(needed) / kGigabyte, static_cast<double>(available) / kGigabyte,
      options.q_len, options.kv_len, options.num_q_heads, options.batch));
}

std::vector<BenchEntry> checked_entries(const AttentionBenchOptions& options,
                                        const AttentionProblem& problem,
                                        const std::vector<AttentionPeer>& peers,
                                        const std::function<void()>& before_call) {
  const CausalBlocks& blocks = problem.blocks;
  const auto attend = [&](const std::optional<at::Tensor>& mask) {
    before_call();
    return std::get<0>(
        block_sparse_attention(problem.q, problem.k, problem.v, mask, options.block_size));
  };
  const auto agree = [&](BenchEntry& entry, const Difference& difference) {
    require_agreement(difference, options.dtype, entry.measurement.name);
    entry.measurement.max_difference =
        std::max(entry.measurement.max_difference, difference.absolute);
  };
  std::vector<BenchEntry> entries;

  const at::Tensor every_block = at::ones({1, 1, blocks.num_q_blocks(), blocks.num_kv_blocks()},
                                          at::TensorOptions(at::kBool).device(options.device));
  BenchEntry dense = masked_entry(problem, "dense", 1, every_block, [&problem] {
    block_sparse_attention(problem.q, problem.k, problem.v, std::nullopt,
                           problem.blocks.block_size);
  });
  const at::Tensor dense_out = attend(std::nullopt);
  agree(dense, compare_some_blocks(problem, every_block, dense_out, {}, options.seed));
  for (const AttentionPeer& peer : peers) {
    BenchEntry entry = dense;
    entry.measurement.name = peer.name;
    entry.measurement.form = peer.form;
    entry.call = [&peer] { peer.call(); };
    before_call();
    agree(dense, compare_heads(dense_out, peer.call()));
    entries.push_back(std::move(entry));
  }
  const double pairs = dense.pairs;
  entries.push_back(std::move(dense));

  const auto add_masked = [&](const std::string& name, double density, const at::Tensor& mask) {
    entries.push_back(masked_entry(problem, name, density, mask, [&problem, mask] {
      block_sparse_attention(problem.q, problem.k, problem.v, mask, problem.blocks.block_size);
    }));
    agree(entries.back(), compare_some_blocks(problem, mask, attend(mask), {}, options.seed));
  };
  for (const double density : sparse_densities(options)) {
    add_masked("sparse", density,
               random_block_mask(blocks, options.batch, options.num_q_heads, density, options.seed,
                                 options.device));
  }
  for (const NamedMask& mask : options.masks) {
    add_masked(mask.name, count_kept(blocks, mask.block_mask).density, mask.block_mask);
  }

  BenchEntry with_map;
  with_map.measurement.name = "block_map";
  with_map.pairs = pairs;
  with_map.call = [&problem] {
    attention_with_block_map(problem.q, problem.k, problem.v, problem.blocks.block_size);
  };
  before_call();
  const auto [out, lse, block_map] =
      attention_with_block_map(problem.q, problem.k, problem.v, options.block_size);
  agree(with_map, compare_some_blocks(problem, {}, out, block_map, options.seed));
  entries.push_back(std::move(with_map));
  return entries;
}

}  // namespace

void check_attention_bench(const AttentionBenchOptions& options) {
  check_range("--batch", options.batch, 1, kMaxHeads);
  check_range("--heads", options.num_q_heads, 1, kMaxHeads);
  check_range("--kv-heads", options.num_kv_heads, 1, kMaxHeads);
  check_range("--seq", options.q_len, 1, kMaxLength);
  check_range("--kv-seq", options.kv_len, 1, kMaxLength);
  check_range("--head-dim", options.head_dim, 1, kMaxHeadDim);
  check_range("--threads", options.threads, 1, kMaxCount);
  check_range("--repeats", options.repeats, 1, kMaxCount);
  check_range("--warmup", options.warmup, 0, kMaxCount);
  if (options.num_q_heads % options.num_kv_heads != 0) {
    refuse(fmt::format("--heads {}: expected a multiple of --kv-heads {}", options.num_q_heads,
                       options.num_kv_heads));
  }
  if (options.kv_len < options.q_len) {
    refuse(fmt::format("--kv-seq {}: expected at least --seq {}, or some queries see no key",
                       options.kv_len, options.q_len));
  }
  for (const std::int64_t accepted : {16, 32, 64, 128}) {
    if (options.block_size == accepted) break;
    if (accepted == 128) {
      refuse(fmt::format("--block-size {}: expected 16, 32, 64 or 128", options.block_size));
    }
  }
  for (const double density : options.densities) {
    if (!(density > 0 && density <= 1)) {
      refuse(fmt::format("--density {}: expected a number above 0 and at most 1", density));
    }
  }
  if ((options.device.is_cuda() || options.backward) && options.kv_len != options.q_len) {
    refuse(fmt::format(
        "--kv-seq {}: {} expected --seq {}: LibTorch's kernels there align causal masks "
        "at the start",
        options.kv_len, options.backward ? "with --backward" : "on a GPU", options.q_len));
  }
  cpu_isa();  // refuses a wrong SEER_CPU_ISA before any work
  check_memory(options);
}

std::uint64_t attention_bench_memory(const AttentionBenchOptions& options) {
  const CausalBlocks blocks = blocks_of(options);
  const auto element = static_cast<double>(at::elementSize(options.dtype));
  const auto batch = static_cast<double>(options.batch);
  const auto q_heads = batch * static_cast<double>(options.num_q_heads);
  const auto kv_heads = batch * static_cast<double>(options.num_kv_heads);
  const auto q_len = static_cast<double>(options.q_len);
  const auto kv_len = static_cast<double>(options.kv_len);
  const auto head_dim = static_cast<double>(options.head_dim);
  const double map =
      static_cast<double>(blocks.num_q_blocks()) * static_cast<double>(blocks.num_kv_blocks());

  double bytes = element * head_dim * (q_heads * q_len + 2 * kv_heads * kv_len);  // q, k, v
  bytes += 2 * element * head_dim * q_heads * q_len;  // two results, to compare
  bytes += 4 * q_heads * q_len;                       // lse
  if (options.num_q_heads != options.num_kv_heads) {
    bytes += 2 * element * head_dim * q_heads * kv_len;  // keys and values expanded for LibTorch
  }
  if (options.q_len != options.kv_len)
    bytes += 5 * q_len * kv_len;  // LibTorch's mask, bool and float
  bytes += static_cast<double>(sparse_densities(options).size()) * q_heads * map;  // block masks
  bytes += 8 * map;                                                                // drawing one
  bytes += 4 * q_heads * map;                                                      // block map
  if (options.backward) {
    // Gradients of the result, of q, k and v by LibTorch (keys and values expanded) and by two of ours, which hold sums
    // in float32; results and lse of each density.
    bytes += element * head_dim * (q_heads * q_len * 3 + 4 * q_heads * kv_len);
    bytes += (element + 4) * head_dim * 2 * q_heads * q_len;
    const auto results =
        static_cast<double>(sparse_densities(options).size() + options.masks.size());
    bytes += results * (element * head_dim + 4) * q_heads * q_len;
  }
  bytes += 8 * (3 * q_len * head_dim);  // one head, compared in double precision
  bytes += 8 * (2 * kv_len * head_dim + 3 * static_cast<double>(options.block_size) * kv_len);
  // LibTorch itself, scratch of the threads; on a GPU scratch, the operands of the peak, what flushes the cache.
  const double fixed = options.device.is_cpu() ? 300e6 : 1.2e9;
  return static_cast<std::uint64_t>(bytes + fixed);
}

AttentionBenchResult run_attention_bench(const AttentionBenchOptions& options,
                                         const std::function<void()>& before_call,
                                         const std::function<void(const std::string&)>& say) {
  if (options.backward) return run_attention_backward_bench(options, before_call, say);
  at::set_num_threads(options.threads);  // before any parallel work
  const c10::NoGradGuard no_grad;
  AttentionBenchResult result;
  result.options = options;
  result.machine = describe_machine(options.device);

  const AttentionProblem problem = random_problem(options);
  say("looking for the fastest form of LibTorch's attention");
  const std::vector<AttentionPeer> peers =
      attention_peers(problem.q, problem.k, problem.v, before_call);
  result.sdpa_form = peers.front().form;
  say("checking the results");
  std::vector<BenchEntry> entries = checked_entries(options, problem, peers, before_call);

  constexpr double kProducts = 2;  // q k^T, p v
  time_entries(entries, peers.size(), kProducts, before_call, say, result);
  return result;
}

}  // namespace seer::bench
