#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include "base/selection_policy.h"
#include "eval/attention_recall.h"
#include "eval/text_windows.h"
#include "eval/time_left.h"
#include "seer/device.h"
#include "seer/eval.h"
#include "seer/retrieval_documents.h"
#include "seer/score.h"
#include "seer/sparse_attention.h"

namespace seer {
namespace {

constexpr std::int64_t kRecallRows = 16;

// Over the ids, FNV-1a: which text it was.
std::uint64_t hash_of(const std::vector<std::int32_t>& tokens) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::int32_t token : tokens) {
    hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x100000001b3;
  }
  return hash;
}

void expect_at_least(const char* name, std::int64_t value, std::int64_t least) {
  if (value >= least) return;
  throw std::invalid_argument(fmt::format("{} {}: expected {} or more", name, value, least));
}

// What one policy needs to run.
struct PolicyRun {
  std::string text;   // canonical
  std::string gates;  // name, for gate policies
  std::unique_ptr<AttentionRecall> recall;
  std::unique_ptr<SparseAttention> attention;  // null: dense, through the model's own backend
};

// The tokens of a sample, and those of them that are an answer.
struct Prompt {
  std::vector<TokenId> tokens;
  TokenSpan answer;
};

}  // namespace

struct Evaluator::Impl {
  const Model& model;
  const Tokenizer* tokenizer;
  TokenStream text;
  const GateSet* gates;
  std::string gates_name;
  EvalOptions options;
  EvalOrigin origin;
  TokenId bos = 0;
  std::string configuration;
  std::vector<PolicyRun> policies;

  Impl(const Model& the_model, const Tokenizer* the_tokenizer, TokenStream stream,
       const GateSet* the_gates, std::string name, EvalOptions given, EvalOrigin where)
      : model(the_model),
        tokenizer(the_tokenizer),
        text(std::move(stream)),
        gates(the_gates),
        gates_name(std::move(name)),
        options(std::move(given)),
        origin(std::move(where)) {
    if (!model.config().bos_token) {
      throw std::invalid_argument(
          "config.json: bos_token_id is missing: evaluation texts begin with this token");
    }
    bos = *model.config().bos_token;
    expect_at_least(options.task == EvalTask::kRetrieval ? "samples" : "windows", options.samples,
                    1);
    expect_at_least("prefill chunk", options.prefill_chunk.value_or(1), 1);
    check_contexts();
    for (const std::string& policy : options.policies) add_policy(policy);
    if (policies.empty()) throw std::invalid_argument("policies: expected at least one");
    set_configuration();
  }

  void check_contexts() const {
    if (options.contexts.empty()) throw std::invalid_argument("contexts: expected at least one");
    for (const std::int64_t context : options.contexts) {
      if (context < 2 || context > model.config().max_positions) {
        throw std::invalid_argument(
            fmt::format("context {}: expected 2 to {}, the model's max_position_embeddings",
                        context, model.config().max_positions));
      }
      if (std::count(options.contexts.begin(), options.contexts.end(), context) > 1) {
        throw std::invalid_argument(fmt::format("context {}: is named twice", context));
      }
      if (options.task == EvalTask::kRetrieval) {
        prompt(context, 0);
      } else {
        check_window_length(text, context);
      }
    }
  }

  void add_policy(const std::string& given) {
    const SelectionPolicy policy = SelectionPolicy::parse(given);
    PolicyRun run;
    run.text = policy.to_string();
    if (policy.source == PolicySource::kGate) run.gates = gates_name;
    for (const PolicyRun& other : policies) {
      if (other.text == run.text) {
        throw std::invalid_argument("policy '" + run.text + "': is named twice");
      }
    }
    if (policy.source != PolicySource::kDense) {
      SparseAttentionOptions sparse;
      sparse.block_size = options.block_size;
      sparse.min_context = options.min_context;
      sparse.seed = options.seed;
      if (options.measure_recall) {
        const bool has_gates = policy.source == PolicySource::kGate && gates != nullptr;
        run.recall = std::make_unique<AttentionRecall>(
            model.config().num_layers, has_gates ? gates->config().block_size : options.block_size);
        sparse.on_mask = [recall = run.recall.get()](const AttentionCall& call,
                                                     const at::Tensor& mask) {
          recall->observe(call, mask);
        };
      }
      run.attention = std::make_unique<SparseAttention>(model.config(), run.text, gates, sparse);
      if (policy.source == PolicySource::kGate && policy.rule == PolicyRule::kDensity) {
        // Before hours of work: whether the calibration reaches every length.
        for (const std::int64_t context : options.contexts)
          check_calibration(run.text, policy.value, context);
      }
    }
    policies.push_back(std::move(run));
  }

  void check_calibration(const std::string& policy, double density, std::int64_t context) const {
    if (context < options.min_context) return;
    try {
      gates->config().calibration.thresholds_for(density, context);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(
          fmt::format("policy '{}', context {}: {}", policy, context, error.what()));
    }
  }

  void set_configuration() {
    nlohmann::ordered_json json = {
        {"model", model.config().name},
        {"dtype", dtype_name(model.options().dtype)},
        {"dense_attention", model.options().attention == AttentionBackend::kSdpa ? "sdpa" : "seer"},
        {"prefill_chunk", "largest that fits"},
        {"block_size", options.block_size},
        {"min_context", options.min_context},
        {"seed", options.seed},
        {"text_tokens", text.tokens.size()},
        {"text_hash", fmt::format("{:016x}", hash_of(text.tokens))}};
    const bool is_cpu = model.options().device.is_cpu();
    if (is_cpu || options.prefill_chunk) {
      json["prefill_chunk"] = options.prefill_chunk.value_or(kDefaultPrefillChunk);
    }
    // Files of CPUs have no such field.
    if (!is_cpu) json["device"] = "cuda";
    if (options.task == EvalTask::kRetrieval) {
      json["needles"] = options.needles;
    } else {
      json["windows"] = options.samples;
    }
    configuration = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    // As it is read back, where bytes were replaced.
    configuration = nlohmann::ordered_json::parse(configuration).dump();
  }

  Prompt prompt(std::int64_t context, std::int64_t index) const {
    if (options.task != EvalTask::kRetrieval) {
      return {.tokens = text_window(text, bos, context, options.samples, index), .answer = {}};
    }
    if (tokenizer == nullptr) {
      throw std::invalid_argument("niah: needs the model's tokenizer (tokenizer.json)");
    }
    RetrievalOptions retrieval;
    retrieval.length = context;
    retrieval.needles = options.needles;
    retrieval.seed = options.seed;
    RetrievalDocument document = retrieval_document(text, *tokenizer, bos, retrieval, index);
    return {.tokens = std::move(document.tokens), .answer = document.answers.front()};
  }

  EvalSample measure(PolicyRun& policy, const Prompt& prompt, std::int64_t index,
                     const EvalCallbacks& callbacks) const {
    EvalSample sample;
    sample.task = options.task;
    sample.policy = policy.text;
    sample.gates = policy.gates;
    sample.context = static_cast<std::int64_t>(prompt.tokens.size());
    sample.sample = index;
    sample.configuration = configuration;
    sample.origin = origin;

    ScoreOptions score;
    score.prefill_chunk = options.prefill_chunk;
    score.between_chunks = callbacks.between_chunks;
    score.attention = policy.attention.get();
    score.likelihood = options.task == EvalTask::kPerplexity;
    // The logits at a position say the next token.
    for (std::int64_t i = 0; i < prompt.answer.count; ++i) {
      score.positions.push_back(prompt.answer.first + i - 1);
    }
    if (policy.attention) policy.attention->reset_counts();
    if (policy.recall) {
      policy.recall->choose_rows(sample.context, kRecallRows,
                                 options.seed + static_cast<std::uint64_t>(index));
    }
    const SequenceScore result = score_tokens(model, prompt.tokens, score);

    sample.nll = result.nll_mean;
    if (prompt.answer.count > 0) set_retrieval(prompt, result, sample);
    sample.seconds = result.forward_seconds;
    set_attention(policy, sample);
    return sample;
  }

  static void set_retrieval(const Prompt& prompt, const SequenceScore& result, EvalSample& sample) {
    std::int64_t right = 0;
    for (const PositionScore& score : result.positions) {
      const TokenId expected = prompt.tokens[static_cast<std::size_t>(score.position + 1)];
      if (score.top_ids.front() == expected) ++right;
    }
    sample.retrieved = right == prompt.answer.count;
    sample.answer_tokens = static_cast<double>(right) / static_cast<double>(prompt.answer.count);
  }

  void set_attention(const PolicyRun& policy, EvalSample& sample) const {
    const auto layers = static_cast<std::size_t>(model.config().num_layers);
    if (!policy.attention) {
      sample.layer_density.assign(layers, 1.0);
      if (!options.measure_recall) return;
      sample.layer_recall.assign(layers, 1.0);
      sample.recall = 1.0;
      return;
    }
    sample.density = policy.attention->total_count().density();
    for (const BlockCount& count : policy.attention->counts()) {
      sample.layer_density.push_back(count.density());
    }
    sample.selection_seconds = policy.attention->selection_seconds();
    sample.attention_seconds = policy.attention->attention_seconds();
    if (!policy.recall) return;
    sample.layer_recall = policy.recall->layer_recall();
    sample.recall = std::accumulate(sample.layer_recall.begin(), sample.layer_recall.end(), 0.0) /
                    static_cast<double>(layers);
    sample.seconds -= policy.recall->seconds();
  }

  // The first run of a program pays for memory and threads that later ones find ready.
  void warm_up(const EvalCallbacks& callbacks) {
    Prompt prompt;
    prompt.tokens.assign(
        static_cast<std::size_t>(std::min<std::int64_t>(
            options.contexts.front(), options.prefill_chunk.value_or(kDefaultPrefillChunk))),
        bos);
    for (PolicyRun& policy : policies) {
      // Calibrations need not reach down to this length.
      if (policy.gates.empty()) measure(policy, prompt, 0, callbacks);
    }
  }

  void run(const std::vector<EvalSample>& done, const EvalCallbacks& callbacks) {
    using Key = std::tuple<std::int64_t, std::int64_t, std::size_t>;  // context, sample, policy
    std::set<Key> left;
    for (const std::int64_t context : options.contexts) {
      for (std::int64_t index = 0; index < options.samples; ++index) {
        for (std::size_t i = 0; i < policies.size(); ++i) {
          EvalSample wanted;
          wanted.task = options.task;
          wanted.policy = policies[i].text;
          wanted.gates = policies[i].gates;
          wanted.context = context;
          wanted.sample = index;
          const bool is_done = std::any_of(done.begin(), done.end(), [&](const EvalSample& sample) {
            return sample.is_same(wanted);
          });
          if (!is_done) left.emplace(context, index, i);
        }
      }
    }

    TimeLeft time_left;
    for (const auto& [context, index, i] : left) time_left.add(context, i);
    EvalProgress progress;
    progress.total =
        static_cast<std::int64_t>(options.contexts.size() * policies.size()) * options.samples;
    progress.done = progress.total - static_cast<std::int64_t>(left.size());
    if (callbacks.on_progress) callbacks.on_progress(progress);
    if (!left.empty()) warm_up(callbacks);
    for (const auto& [context, index, i] : left) {
      const TimeLeft::Clock::time_point start = TimeLeft::Clock::now();
      const EvalSample sample = measure(policies[i], prompt(context, index), index, callbacks);
      if (callbacks.on_sample) callbacks.on_sample(sample);
      time_left.finish(context, i, TimeLeft::Clock::now() - start);
      ++progress.done;
      progress.seconds_left = time_left.seconds();
      if (callbacks.on_progress) callbacks.on_progress(progress);
    }
  }
};

Evaluator::Evaluator(const Model& model, const Tokenizer* tokenizer, TokenStream text,
                     const GateSet* gates, std::string gates_name, EvalOptions options,
                     EvalOrigin origin)
    : impl_(std::make_unique<Impl>(model, tokenizer, std::move(text), gates, std::move(gates_name),
                                   std::move(options), std::move(origin))) {}
Evaluator::~Evaluator() = default;

const std::string& Evaluator::configuration() const {
  return impl_->configuration;
}

void Evaluator::run(const std::vector<EvalSample>& done, const EvalCallbacks& callbacks) {
  impl_->run(done, callbacks);
}

}  // namespace seer
