#include "eval/policy_run.h"

#include <fmt/format.h>

#include <numeric>
#include <stdexcept>

#include "base/selection_policy.h"
#include "seer/device.h"
#include "seer/generate.h"
#include "seer/score.h"

namespace seer {
namespace {

constexpr std::int64_t kRecallRows = 16;

void set_forced_answer(const EvalPrompt& prompt, const SequenceScore& result, EvalSample& sample) {
  std::int64_t right = 0;
  for (const PositionScore& score : result.positions) {
    const TokenId expected = prompt.tokens[static_cast<std::size_t>(score.position + 1)];
    if (score.top_ids.front() == expected) ++right;
  }
  sample.score = right == prompt.answer.count ? 1 : 0;
  sample.answer_tokens = static_cast<double>(right) / static_cast<double>(prompt.answer.count);
}

}  // namespace

PolicyRun::PolicyRun(const Model& model, const std::string& policy, const GateSet* gates,
                     const std::string& gates_name, const EvalOptions& options)
    : model_(model), gate_set_(gates), options_(options) {
  const SelectionPolicy parsed = SelectionPolicy::parse(policy);
  policy_ = parsed.to_string();
  if (parsed.source == PolicySource::kGate) gates_ = gates_name;
  if (parsed.source == PolicySource::kDense) return;
  SparseAttentionOptions sparse;
  sparse.block_size = options.block_size;
  sparse.min_context = options.min_context;
  sparse.seed = options.seed;
  if (options.measure_recall) {
    const bool has_gates = parsed.source == PolicySource::kGate && gates != nullptr;
    recall_ = std::make_unique<AttentionRecall>(
        model.config().num_layers, has_gates ? gates->config().block_size : options.block_size);
    sparse.on_mask = [recall = recall_.get()](const AttentionCall& call, const at::Tensor& mask) {
      recall->observe(call, mask);
    };
  }
  attention_ = std::make_unique<SparseAttention>(model.config(), policy_, gates, sparse);
}

void PolicyRun::check_context(std::int64_t context) const {
  const SelectionPolicy policy = SelectionPolicy::parse(policy_);
  if (policy.source != PolicySource::kGate || policy.rule != PolicyRule::kDensity) return;
  if (context < options_.min_context) return;
  try {
    gate_set_->config().calibration.thresholds_for(policy.value, context);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(
        fmt::format("policy '{}', context {}: {}", policy_, context, error.what()));
  }
}

EvalSample PolicyRun::measure(const EvalTask& task, const EvalPrompt& prompt, std::int64_t index,
                              const Tokenizer* tokenizer,
                              const std::function<void()>& between_chunks) {
  EvalSample sample;
  sample.policy = policy_;
  sample.gates = gates_;
  sample.sample = index;
  sample.subset = prompt.subset;
  sample.depth = prompt.depth;
  sample.prompt_tokens = static_cast<std::int64_t>(prompt.tokens.size());
  if (attention_) attention_->reset_counts();
  if (recall_) {
    recall_->choose_rows(sample.prompt_tokens, kRecallRows,
                         options_.seed + static_cast<std::uint64_t>(index));
  }
  reset_peak_memory(model_.options().device);
  if (prompt.max_new_tokens > 0) {
    generate(task, prompt, tokenizer, between_chunks, sample);
  } else {
    score(task, prompt, between_chunks, sample);
  }
  sample.peak_memory = peak_memory(model_.options().device);
  set_attention(sample);
  return sample;
}

void PolicyRun::score(const EvalTask& task, const EvalPrompt& prompt,
                      const std::function<void()>& between_chunks, EvalSample& sample) {
  const bool is_forced = prompt.answer.count > 0;
  ScoreOptions options;
  options.prefill_chunk = options_.prefill_chunk;
  options.between_chunks = between_chunks;
  options.attention = attention_.get();
  options.likelihood = !is_forced && task.metric() == "perplexity";
  options.scored = prompt.scored;
  // The logits at a position say the next token.
  for (std::int64_t i = 0; i < prompt.answer.count; ++i) {
    options.positions.push_back(prompt.answer.first + i - 1);
  }
  const SequenceScore result = score_tokens(model_, prompt.tokens, options);
  sample.nll = result.nll_mean;
  if (is_forced) set_forced_answer(prompt, result, sample);
  sample.seconds = result.forward_seconds;
}

void PolicyRun::generate(const EvalTask& task, const EvalPrompt& prompt, const Tokenizer* tokenizer,
                         const std::function<void()>& between_chunks, EvalSample& sample) {
  GenerateOptions options;
  options.max_new_tokens = prompt.max_new_tokens;
  options.stop = prompt.stop;
  options.prefill_chunk = options_.prefill_chunk;
  GenerateCallbacks callbacks;
  callbacks.should_stop = [&] {
    if (between_chunks) between_chunks();
    return false;
  };
  // A new one each time: nothing of the prompt before may be reused.
  Generator generator(model_, tokenizer, attention_.get());
  const Generated generated = generator.run(prompt.tokens, options, callbacks);
  sample.prediction = generated.text;
  sample.references = prompt.references;
  sample.generated_tokens = static_cast<std::int64_t>(generated.tokens.size());
  sample.score = task.score(prompt, generated.text);
  sample.seconds = generated.seconds_to_first_token;
  sample.decode_seconds = generated.decode_seconds;
}

void PolicyRun::set_attention(EvalSample& sample) const {
  const auto layers = static_cast<std::size_t>(model_.config().num_layers);
  if (!attention_) {
    sample.layer_density.assign(layers, 1.0);
    if (!options_.measure_recall) return;
    sample.head_density.assign(
        layers, std::vector<double>(static_cast<std::size_t>(model_.config().num_q_heads), 1.0));
    sample.layer_recall.assign(layers, 1.0);
    sample.recall = 1.0;
    return;
  }
  sample.density = attention_->total_count().density();
  for (const BlockCount& count : attention_->counts()) {
    sample.layer_density.push_back(count.density());
  }
  sample.selection_seconds = attention_->selection_seconds();
  sample.attention_seconds = attention_->attention_seconds();
  if (!recall_) return;
  sample.head_density = recall_->head_density();
  sample.layer_recall = recall_->layer_recall();
  sample.recall = std::accumulate(sample.layer_recall.begin(), sample.layer_recall.end(), 0.0) /
                  static_cast<double>(layers);
  sample.seconds -= recall_->seconds();
}

void PolicyRun::warm_up(std::int64_t length, TokenId token,
                        const std::function<void()>& between_chunks) {
  const std::vector<TokenId> tokens(static_cast<std::size_t>(length), token);
  ScoreOptions options;
  options.prefill_chunk = options_.prefill_chunk;
  options.between_chunks = between_chunks;
  options.attention = attention_.get();
  options.likelihood = false;
  if (recall_) recall_->choose_rows(length, kRecallRows, options_.seed);
  score_tokens(model_, tokens, options);
}

}  // namespace seer
