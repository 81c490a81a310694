#include "bench/kernels/attention_entries.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bench/support/cache_flush.h"
#include "bench/support/compute_peak.h"

namespace seer::bench {
namespace {

void derive(AttentionMeasurement& measurement, double flops, const Samples& peak, double peak_flops,
            const Samples& sdpa, const Samples& dense) {
  const Samples& samples = measurement.samples;
  measurement.tflops = flops / samples.median() / 1e12;
  measurement.share_of_peak = median_ratio(peak, samples) * flops / peak_flops;
  measurement.speedup_over_sdpa = median_ratio(sdpa, samples);
  measurement.time_over_dense = median_ratio(samples, dense);
  measurement.fraction_of_ideal = median_ratio(dense, samples) * measurement.density;
  measurement.fraction_of_ideal_against_sdpa = median_ratio(sdpa, samples) * measurement.density;
}

}  // namespace

// The densities below 1, each once, from high to low.
std::vector<double> sparse_densities(const AttentionBenchOptions& options) {
  std::vector<double> densities;
  for (const double density : options.densities) {
    if (density < 1) densities.push_back(density);
  }
  std::sort(densities.rbegin(), densities.rend());
  densities.erase(std::unique(densities.begin(), densities.end()), densities.end());
  return densities;
}

CausalBlocks blocks_of(const AttentionBenchOptions& options) {
  return {options.q_len, options.kv_len, options.block_size};
}

AttentionProblem random_problem(const AttentionBenchOptions& options) {
  at::manual_seed(options.seed);
  const auto draw = [&](std::int64_t heads, std::int64_t length) {
    return at::randn({options.batch, heads, length, options.head_dim},
                     at::TensorOptions(options.dtype).device(options.device));
  };
  at::Tensor q = draw(options.num_q_heads, options.q_len);
  at::Tensor k = draw(options.num_kv_heads, options.kv_len);
  at::Tensor v = draw(options.num_kv_heads, options.kv_len);
  return {std::move(q), std::move(k), std::move(v), blocks_of(options)};
}

BenchEntry masked_entry(const AttentionProblem& problem, std::string name, double density_asked,
                        const at::Tensor& block_mask, std::function<void()> call) {
  const KeptWork kept = count_kept(problem.blocks, block_mask);
  const auto heads = static_cast<double>(problem.q.size(0) * problem.q.size(1));
  const auto mask_heads = static_cast<double>(block_mask.size(0) * block_mask.size(1));
  BenchEntry entry;
  entry.measurement.name = std::move(name);
  entry.measurement.density_asked = density_asked;
  entry.measurement.density = kept.density;
  entry.measurement.density_of_pairs = kept.density_of_pairs;
  entry.pairs = kept.pairs * heads / mask_heads;
  entry.call = std::move(call);
  return entry;
}

void time_entries(std::vector<BenchEntry>& entries, std::size_t num_peers, double products,
                  const std::function<void()>& before_call,
                  const std::function<void(const std::string&)>& say,
                  AttentionBenchResult& result) {
  const AttentionBenchOptions& options = result.options;
  const ComputePeak peak = compute_peak(options.device, options.dtype, options.threads);
  const CacheFlush flush(options.device);
  std::vector<Subject> subjects = {{"peak", peak.run}};
  for (const BenchEntry& entry : entries) subjects.push_back({entry.measurement.name, entry.call});
  std::vector<Samples> samples = time_alternating(
      subjects, options.device, options.warmup, options.repeats,
      [&] {
        before_call();
        flush();
      },
      [&](int done, int all, double seconds_left) {
        say(fmt::format("round {} of {}, about {:.0f} s left", done, all, seconds_left));
      });

  result.peak_kind = peak.kind;
  result.peak_tflops = peak.flops / samples[0].median() / 1e12;
  const Samples& sdpa = samples[1];
  const Samples& dense = samples[1 + num_peers];
  for (std::size_t i = 0; i < entries.size(); ++i) {
    AttentionMeasurement& measurement = entries[i].measurement;
    measurement.samples = samples[i + 1];
    const double flops = 2 * products * static_cast<double>(options.head_dim) * entries[i].pairs;
    derive(measurement, flops, samples[0], peak.flops, sdpa, dense);
    result.measurements.push_back(measurement);
  }
}

}  // namespace seer::bench
