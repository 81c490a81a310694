// A policy at work: what it computes of a sample, how well, and in what time and memory.
#pragma once

#include <memory>
#include <string>

#include "eval/attention_recall.h"
#include "seer/eval.h"
#include "seer/sparse_attention.h"

namespace seer {

class PolicyRun {
 public:
  // Throws std::invalid_argument as Evaluator does. `gates` may be null where the policy needs none; `model` and it must
  // outlive the object.
  PolicyRun(const Model& model, const std::string& policy, const GateSet* gates,
            const std::string& gates_name, const EvalOptions& options);

  const std::string& policy() const { return policy_; }  // canonical
  const std::string& gates() const { return gates_; }    // name, for gate policies

  // Throws std::invalid_argument where gates were not calibrated for prompts of `context` tokens.
  void check_context(std::int64_t context) const;

  // Sample `index`; `has_score` false: only what attention did is wanted. All fields but task, metric, context,
  // configuration and origin. `tokenizer` may be null where nothing is generated.
  EvalSample measure(const EvalTask& task, const EvalPrompt& prompt, std::int64_t index,
                     const Tokenizer* tokenizer, const std::function<void()>& between_chunks);
  // Runs a prompt of `length` equal tokens and forgets about it.
  void warm_up(std::int64_t length, TokenId token, const std::function<void()>& between_chunks);

 private:
  void score(const EvalTask& task, const EvalPrompt& prompt,
             const std::function<void()>& between_chunks, EvalSample& sample);
  void generate(const EvalTask& task, const EvalPrompt& prompt, const Tokenizer* tokenizer,
                const std::function<void()>& between_chunks, EvalSample& sample);
  void set_attention(EvalSample& sample) const;

  const Model& model_;
  const GateSet* gate_set_;
  EvalOptions options_;
  std::string policy_, gates_;
  std::unique_ptr<AttentionRecall> recall_;
  std::unique_ptr<SparseAttention> attention_;  // null: dense, through the model's own backend
};

}  // namespace seer
