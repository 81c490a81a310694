#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "eval/policy_run.h"
#include "eval/time_left.h"
#include "seer/device.h"
#include "seer/eval.h"

namespace seer {
namespace {

// A task at one length.
struct Stage {
  std::shared_ptr<const EvalTask> task;
  std::int64_t context = 0;
  std::int64_t samples = 0;
};

}  // namespace

struct Evaluator::Impl {
  const Model& model;
  const Tokenizer* tokenizer;
  EvalOptions options;
  EvalOrigin origin;
  EvalConfigurations configurations;
  std::vector<Stage> stages;
  std::vector<PolicyRun> policies;

  Impl(const Model& the_model, const Tokenizer* the_tokenizer, const GateSet* gates,
       const std::string& gates_name, const std::vector<EvalRequest>& requests, EvalOptions given,
       EvalOrigin where)
      : model(the_model),
        tokenizer(the_tokenizer),
        options(std::move(given)),
        origin(std::move(where)) {
    if (options.prefill_chunk.value_or(1) < 1) {
      throw std::invalid_argument(
          fmt::format("prefill chunk {}: expected 1 or more", *options.prefill_chunk));
    }
    if (options.policies.empty()) throw std::invalid_argument("policies: expected at least one");
    if (requests.empty()) throw std::invalid_argument("tasks: expected at least one");
    for (const EvalRequest& request : requests) check_contexts(request.contexts);
    for (const std::string& policy : options.policies) add_policy(policy, gates, gates_name);
    for (const EvalRequest& request : requests) add_request(request);
  }

  void check_contexts(const std::vector<std::int64_t>& contexts) const {
    if (contexts.empty()) throw std::invalid_argument("contexts: expected at least one");
    for (const std::int64_t context : contexts) {
      if (context < 2 || context > model.config().max_positions) {
        throw std::invalid_argument(
            fmt::format("context {}: expected 2 to {}, the model's max_position_embeddings",
                        context, model.config().max_positions));
      }
      if (std::count(contexts.begin(), contexts.end(), context) > 1) {
        throw std::invalid_argument(fmt::format("context {}: is named twice", context));
      }
    }
  }

  void add_policy(const std::string& given, const GateSet* gates, const std::string& gates_name) {
    PolicyRun run(model, given, gates, gates_name, options);
    for (const PolicyRun& other : policies) {
      if (other.policy() == run.policy()) {
        throw std::invalid_argument("policy '" + run.policy() + "': is named twice");
      }
    }
    policies.push_back(std::move(run));
  }

  void add_request(const EvalRequest& request) {
    const std::string name = request.task->name();
    if (!configurations.emplace(name, configuration_of(*request.task)).second) {
      throw std::invalid_argument("task " + name + ": is named twice");
    }
    // Before hours of work: whether there are samples, and gates are calibrated, at every length.
    for (const std::int64_t context : request.contexts) {
      stages.push_back(
          {.task = request.task, .context = context, .samples = request.task->samples(context)});
      for (const PolicyRun& policy : policies) policy.check_context(context);
    }
  }

  std::string configuration_of(const EvalTask& task) const {
    nlohmann::ordered_json json = {
        {"model", model.config().name},
        {"dtype", dtype_name(model.options().dtype)},
        {"dense_attention", model.options().attention == AttentionBackend::kSdpa ? "sdpa" : "seer"},
        {"prefill_chunk", "largest that fits"},
        {"block_size", options.block_size},
        {"min_context", options.min_context},
        {"seed", options.seed}};
    const bool is_cpu = model.options().device.is_cpu();
    if (is_cpu || options.prefill_chunk) {
      json["prefill_chunk"] = options.prefill_chunk.value_or(kDefaultPrefillChunk);
    }
    // Files of CPUs have no such field.
    if (!is_cpu) json["device"] = "cuda";
    const nlohmann::ordered_json settings = nlohmann::ordered_json::parse(task.settings());
    for (const auto& [key, value] : settings.items()) {
      // Of a seed that samples are made with and one of recall's rows both count, where they differ.
      const bool differs = json.contains(key) && json[key] != value;
      json[differs ? "task_" + key : key] = value;
    }
    const std::string text =
        json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    // As it is read back, where bytes were replaced.
    return nlohmann::ordered_json::parse(text).dump();
  }

  // The first run of a program pays for memory and threads that later ones find ready.
  void warm_up(const EvalCallbacks& callbacks) {
    const std::int64_t length = std::min<std::int64_t>(
        stages.front().context, options.prefill_chunk.value_or(kDefaultPrefillChunk));
    const TokenId token = model.config().bos_token.value_or(0);
    for (PolicyRun& policy : policies) {
      // Calibrations need not reach down to this length.
      if (policy.gates().empty()) policy.warm_up(length, token, callbacks.between_chunks);
    }
  }

  EvalSample measure(const Stage& stage, const EvalPrompt& prompt, std::int64_t index,
                     PolicyRun& policy, const EvalCallbacks& callbacks) const {
    EvalSample sample =
        policy.measure(*stage.task, prompt, index, tokenizer, callbacks.between_chunks);
    sample.task = stage.task->name();
    sample.metric = stage.task->metric();
    sample.context = stage.context;
    sample.configuration = configurations.at(sample.task);
    sample.origin = origin;
    return sample;
  }

  void run(const std::vector<EvalSample>& done, const EvalCallbacks& callbacks) {
    using Name = std::tuple<std::string, std::string, std::string, std::int64_t, std::int64_t>;
    std::set<Name> names;  // of samples that are there
    for (const EvalSample& sample : done) {
      names.emplace(sample.task, sample.policy, sample.gates, sample.context, sample.sample);
    }
    using Place = std::tuple<std::size_t, std::int64_t, std::size_t>;  // stage, sample, policy
    std::vector<Place> left;
    EvalProgress progress;
    for (std::size_t s = 0; s < stages.size(); ++s) {
      const std::string task = stages[s].task->name();
      for (std::int64_t index = 0; index < stages[s].samples; ++index) {
        for (std::size_t p = 0; p < policies.size(); ++p) {
          ++progress.total;
          const Name name{task, policies[p].policy(), policies[p].gates(), stages[s].context,
                          index};
          if (!names.contains(name)) left.emplace_back(s, index, p);
        }
      }
    }

    TimeLeft time_left;
    // Tasks of one length take their own time.
    const auto kind = [&](std::size_t stage, std::size_t policy) {
      return stage * policies.size() + policy;
    };
    for (const auto& [s, index, p] : left) time_left.add(stages[s].context, kind(s, p));
    progress.done = progress.total - static_cast<std::int64_t>(left.size());
    if (callbacks.on_progress) callbacks.on_progress(progress);
    if (!left.empty()) warm_up(callbacks);
    EvalPrompt prompt;
    std::optional<std::pair<std::size_t, std::int64_t>> prompt_of;  // stage and sample
    for (const auto& [s, index, p] : left) {
      if (prompt_of != std::pair(s, index)) {
        prompt = stages[s].task->prompt(stages[s].context, index);
        prompt_of = {s, index};
      }
      const TimeLeft::Clock::time_point start = TimeLeft::Clock::now();
      const EvalSample sample = measure(stages[s], prompt, index, policies[p], callbacks);
      if (callbacks.on_sample) callbacks.on_sample(sample);
      time_left.finish(stages[s].context, kind(s, p), TimeLeft::Clock::now() - start);
      ++progress.done;
      progress.seconds_left = time_left.seconds();
      if (callbacks.on_progress) callbacks.on_progress(progress);
    }
  }
};

Evaluator::Evaluator(const Model& model, const Tokenizer* tokenizer, const GateSet* gates,
                     const std::string& gates_name, const std::vector<EvalRequest>& requests,
                     EvalOptions options, EvalOrigin origin)
    : impl_(std::make_unique<Impl>(model, tokenizer, gates, gates_name, requests,
                                   std::move(options), std::move(origin))) {}
Evaluator::~Evaluator() = default;

const EvalConfigurations& Evaluator::configurations() const {
  return impl_->configurations;
}

void Evaluator::run(const std::vector<EvalSample>& done, const EvalCallbacks& callbacks) {
  impl_->run(done, callbacks);
}

}  // namespace seer
