// What the benchmarks of attention and of its backward share: the problem, what takes part in the rounds, the rounds.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "bench/kernels/attention_bench.h"
#include "bench/kernels/attention_check.h"

namespace seer::bench {

// The densities below 1, each once, from high to low.
std::vector<double> sparse_densities(const AttentionBenchOptions& options);

CausalBlocks blocks_of(const AttentionBenchOptions& options);

// Normal values drawn from the options' seed.
AttentionProblem random_problem(const AttentionBenchOptions& options);

// Everything that takes part in the rounds, with what is known of it beforehand.
struct BenchEntry {
  AttentionMeasurement measurement;
  double pairs = 0;  // of query and key, that the call has to compute
  std::function<void()> call;
};

BenchEntry masked_entry(const AttentionProblem& problem, std::string name, double density_asked,
                        const at::Tensor& block_mask, std::function<void()> call);

// Times the entries by result.options: first LibTorch's, `num_peers` of them, then Seer's dense one, then the others.
// Fills the result's peak and measurements. `products` is how many multiply-adds a pair takes, in head_dims.
void time_entries(std::vector<BenchEntry>& entries, std::size_t num_peers, double products,
                  const std::function<void()>& before_call,
                  const std::function<void(const std::string&)>& say, AttentionBenchResult& result);

}  // namespace seer::bench
