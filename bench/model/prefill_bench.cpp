#include "bench/model/prefill_bench.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "base/selection_policy.h"
#include "bench/model/part_times.h"
#include "seer/device.h"
#include "seer/sparse_attention.h"

namespace seer::bench {
namespace {

constexpr std::int64_t kMaxLength = std::int64_t{1} << 24;
constexpr int kMaxCount = 10000;

// A policy with what it needs to run.
struct PolicyRun {
  std::string text;
  std::unique_ptr<SparseAttention> attention;  // null: dense
  std::int64_t chunk = 0;                      // tokens of a prompt that run at once
};

bool needs_gates(const std::string& policy) {
  return SelectionPolicy::parse(policy).source == PolicySource::kGate;
}

class PrefillBench {
 public:
  PrefillBench(const PrefillBenchOptions& options, const std::function<void()>& before_call,
               const std::function<void(const std::string&)>& say)
      : options_(options),
        device_(options.model.device),
        config_(config_of(options.model)),
        model_(make_model(options.model, config_)),
        before_call_(before_call),
        say_(say) {
    if (std::any_of(options.policies.begin(), options.policies.end(), needs_gates)) {
      gates_.emplace(make_gates(options.model, config_));
    }
    runs_.push_back({.text = "dense", .attention = nullptr, .chunk = 0});
    for (const std::string& text : options.policies) add_policy(text);
    model_.watch_parts([this](LayerPart part) {
      if (parts_) parts_->after(part);
    });
  }

  std::vector<PrefillMeasurement> measure(std::int64_t length) {
    KvCache cache(config_, 1, length, model_.options().tensors());
    const at::Tensor tokens = at::tensor(random_tokens(config_, 0, length), at::kLong).unsqueeze(0);
    for (PolicyRun& run : runs_) {
      run.chunk = model_.prefill_chunk(length, options_.prefill_chunk, run.attention.get());
    }
    const auto call = [&](PolicyRun& run) { prefill(run, tokens, cache); };

    std::vector<PrefillMeasurement> measurements;
    for (PolicyRun& run : runs_) {
      say_(fmt::format("{} tokens, {}: parts and memory", length, run.text));
      measurements.push_back(instrumented(run, length, call));
    }
    std::vector<Subject> subjects;
    for (PolicyRun& run : runs_) subjects.push_back({run.text, [&] { call(run); }});
    const std::vector<Samples> samples = time_alternating(
        subjects, device_, options_.warmup, options_.repeats,
        [&] {
          before_call_();
          synchronize(device_);
        },
        [&](int done, int all, double seconds_left) {
          say_(fmt::format("{} tokens: round {} of {}, about {:.0f} s left", length, done, all,
                           seconds_left));
        });
    for (std::size_t i = 0; i < samples.size(); ++i) {
      PrefillMeasurement& measurement = measurements[i];
      measurement.samples = samples[i];
      measurement.speedup_over_dense = median_ratio(samples.front(), samples[i]);
      measurement.tflops =
          operations_of_pass(config_, length, measurement.density) / samples[i].median() / 1e12;
    }
    return measurements;
  }

 private:
  void add_policy(const std::string& text) {
    SparseAttentionOptions sparse;
    sparse.block_size = options_.model.block_size;
    sparse.min_context = 0;
    sparse.seed = options_.model.seed;
    sparse.on_mask = [this](const AttentionCall& /*call*/, const at::Tensor& /*mask*/) {
      if (parts_) parts_->after(LayerPart::kSelection);
    };
    PolicyRun run;
    run.attention =
        std::make_unique<SparseAttention>(config_, text, gates_ ? &*gates_ : nullptr, sparse);
    run.text = run.attention->policy();
    const bool is_known = std::any_of(
        runs_.begin(), runs_.end(), [&](const PolicyRun& other) { return other.text == run.text; });
    if (!is_known) runs_.push_back(std::move(run));
  }

  void prefill(PolicyRun& run, const at::Tensor& tokens, KvCache& cache) {
    const std::int64_t length = tokens.size(1);
    cache.truncate(0);
    if (run.attention) run.attention->begin(0, length);
    for (std::int64_t first = 0; first < length; first += run.chunk) {
      model_.forward(tokens.narrow(1, first, std::min(run.chunk, length - first)), cache,
                     run.attention.get());
    }
  }

  template <typename Call>
  PrefillMeasurement instrumented(PolicyRun& run, std::int64_t length, const Call& call) {
    before_call_();
    if (run.attention) run.attention->reset_counts();
    synchronize(device_);
    reset_peak_memory(device_);
    call(run);  // the first one finds the sizes of everything
    PrefillMeasurement measurement;
    measurement.policy = run.text;
    measurement.length = length;
    measurement.chunk = std::min(run.chunk, length);
    if (run.attention) measurement.density = run.attention->total_count().density();
    synchronize(device_);
    measurement.peak_memory = peak_memory(device_);
    before_call_();
    parts_.emplace(device_);
    call(run);
    measurement.part_seconds = parts_->seconds();
    parts_.reset();
    return measurement;
  }

  const PrefillBenchOptions& options_;
  c10::Device device_;
  ModelConfig config_;
  Model model_;
  std::optional<GateSet> gates_;
  std::vector<PolicyRun> runs_;
  std::optional<PartTimes> parts_;  // where a pass is watched
  const std::function<void()>& before_call_;
  const std::function<void(const std::string&)>& say_;
};

}  // namespace

void check_prefill_bench(const PrefillBenchOptions& options) {
  config_of(options.model);
  if (options.lengths.empty()) throw std::invalid_argument("--seq: expected at least one length");
  for (const std::int64_t length : options.lengths) {
    require_flag(length >= 1 && length <= kMaxLength, "--seq", length, "1 to 16777216 tokens");
  }
  for (const std::string& policy : options.policies) SelectionPolicy::parse(policy);
  require_flag(options.prefill_chunk.value_or(1) >= 1, "--prefill-chunk",
               options.prefill_chunk.value_or(1), "at least 1");
  require_flag(options.repeats >= 1 && options.repeats <= kMaxCount, "--repeats", options.repeats,
               "1 to 10000");
  require_flag(options.warmup >= 0 && options.warmup <= kMaxCount, "--warmup", options.warmup,
               "0 to 10000");
}

PrefillBenchResult run_prefill_bench(const PrefillBenchOptions& options,
                                     const std::function<void()>& before_call,
                                     const std::function<void(const std::string&)>& say) {
  PrefillBenchResult result;
  result.options = options;
  result.machine = describe_machine(options.model.device);
  say("making the model");
  PrefillBench bench(options, before_call, say);
  for (const std::int64_t length : options.lengths) {
    for (PrefillMeasurement& measurement : bench.measure(length)) {
      result.measurements.push_back(std::move(measurement));
    }
  }
  return result;
}

}  // namespace seer::bench
