#include "ops/select_blocks.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "base/selection_policy.h"
#include "ops/element.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "select_blocks(Tensor scores, str policy, SymInt q_len, SymInt kv_len, int block_size) "
      "-> Tensor");
}

at::Tensor select_blocks(const at::Tensor& scores, std::string_view policy, std::int64_t q_len,
                         std::int64_t kv_len, std::int64_t block_size) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("seer::select_blocks", "")
                             .typed<at::Tensor(const at::Tensor&, std::string_view, c10::SymInt,
                                               c10::SymInt, std::int64_t)>();
  return op.call(scores, policy, q_len, kv_len, block_size);
}

namespace {

// Int is std::int64_t or c10::SymInt.
template <typename Int>
Int num_blocks(const Int& length, std::int64_t block_size) {
  return (length + (block_size - 1)) / block_size;
}

SelectionPolicy check_arguments(const at::Tensor& scores, std::string_view policy,
                                const c10::SymInt& q_len, const c10::SymInt& kv_len,
                                std::int64_t block_size) {
  TORCH_CHECK(scores.dim() == 4,
              "select_blocks: scores: expected 4 dimensions [batch, heads, "
              "query blocks, key blocks], got ",
              scores.dim());
  TORCH_CHECK(block_size == 16 || block_size == 32 || block_size == 64 || block_size == 128,
              "select_blocks: block_size=", block_size, ": expected 16, 32, 64 or 128");
  TORCH_CHECK(q_len >= 0, "select_blocks: q_len=", q_len, ": expected a length >= 0");
  TORCH_CHECK(kv_len >= 0, "select_blocks: kv_len=", kv_len, ": expected a length >= 0");
  const c10::SymInt q_blocks = num_blocks(q_len, block_size);
  const c10::SymInt kv_blocks = num_blocks(kv_len, block_size);
  TORCH_CHECK(scores.sym_size(2) == q_blocks, "select_blocks: scores: expected ", q_blocks,
              " query blocks (q_len=", q_len, " in blocks of ", block_size, "), got ",
              scores.sym_size(2));
  TORCH_CHECK(scores.sym_size(3) == kv_blocks, "select_blocks: scores: expected ", kv_blocks,
              " key blocks (kv_len=", kv_len, " in blocks of ", block_size, "), got ",
              scores.sym_size(3));
  TORCH_CHECK(scores.sym_size(3) <= 1 || scores.sym_stride(3) == 1,
              "select_blocks: scores: "
              "expected a contiguous last dimension, got strides ",
              scores.sym_strides());
  return parse_block_policy("select_blocks", policy);
}

at::Tensor select_blocks_meta(const at::Tensor& scores, std::string_view policy, c10::SymInt q_len,
                              c10::SymInt kv_len, std::int64_t block_size) {
  check_arguments(scores, policy, q_len, kv_len, block_size);
  return at::empty_symint(scores.sym_sizes(), scores.options().dtype(at::kBool));
}

}  // namespace

SelectionPolicy parse_block_policy(const char* op, std::string_view text) {
  SelectionPolicy policy;
  std::string malformed;
  try {
    policy = SelectionPolicy::parse(text);
  } catch (const std::invalid_argument& error) {
    malformed = error.what();
  }
  TORCH_CHECK(malformed.empty(), op, ": ", malformed);
  TORCH_CHECK(policy.source == PolicySource::kDense || policy.source == PolicySource::kGate, op,
              ": policy '", text, "': source ", policy_source_name(policy.source),
              " does not choose from gate scores (expected 'dense' or 'gate:<rule>')");
  TORCH_CHECK(
      policy.rule != PolicyRule::kDensity, op, ": policy '", text,
      "': density needs the adapter's calibration table, which only the model has (expected "
      "ratio, threshold, mass or budget)");
  TORCH_CHECK(policy.start_layer == 0, op, ": policy '", text,
              "': start_layer=", policy.start_layer,
              " is decided by the model, which knows the layers (leave it out "
              "here)");
  return policy;
}

void set_selection(const SelectionPolicy& policy, SelectBlocksParams& params) {
  params.sink = policy.sink;
  params.local = policy.local;
  params.dense_rows = policy.dense_rows;
  switch (policy.rule) {
    case PolicyRule::kNone: params.rule = SelectionRule::kAll; break;
    case PolicyRule::kRatio:
      params.rule = SelectionRule::kTopBlocks;
      params.top_blocks = blocks_of_ratio(policy.value, params.num_kv_blocks);
      break;
    case PolicyRule::kBudget:
      params.rule = SelectionRule::kTopBlocks;
      params.top_blocks = blocks_of_budget(policy.budget, params.block_size);
      break;
    case PolicyRule::kThreshold:
      params.rule = SelectionRule::kThreshold;
      params.threshold = policy.value;
      break;
    case PolicyRule::kMass:
      params.rule = SelectionRule::kMass;
      params.mass = policy.value;
      break;
    case PolicyRule::kDensity: break;  // refused by parse_block_policy()
  }
}

PreparedSelectBlocks prepare_select_blocks(const at::Tensor& scores, std::string_view policy_text,
                                           std::int64_t q_len, std::int64_t kv_len,
                                           std::int64_t block_size) {
  const SelectionPolicy policy = check_arguments(scores, policy_text, q_len, kv_len, block_size);
  PreparedSelectBlocks prepared;
  SelectBlocksParams& params = prepared.params;
  TORCH_CHECK(!scores.is_cuda() || scores.scalar_type() != at::kHalf,
              "select_blocks: scores: expected float32 or bfloat16, got float16");
  params.element = element_of(scores, "select_blocks: scores");
  params.batch = scores.size(0);
  params.heads = scores.size(1);
  params.q_len = q_len;
  params.kv_len = kv_len;
  params.block_size = block_size;
  params.num_q_blocks = scores.size(2);
  params.num_kv_blocks = scores.size(3);
  params.scores_strides = {scores.stride(0), scores.stride(1), scores.stride(2)};
  set_selection(policy, params);
  prepared.mask = at::empty(scores.sizes(), scores.options().dtype(at::kBool));
  params.scores = scores.const_data_ptr();
  params.mask = static_cast<std::uint8_t*>(prepared.mask.mutable_data_ptr());
  return prepared;
}

void refuse_bad_score(const SelectBlocksParams& params, const BadScore& bad) {
  const SelectionRow row = selection_row(params, bad.position);
  // The sign of a NaN says nothing and depends on how it came about.
  const double value = std::isnan(bad.value) ? std::abs(bad.value) : bad.value;
  TORCH_CHECK(false, "select_blocks: scores[", row.batch, ", ", row.head, ", ", row.q_block, ", ",
              bad.kv_block, "]=", value, ": ",
              params.rule == SelectionRule::kMass
                  ? "mass takes finite probabilities >= 0 (pass the softmax of the logits)"
                  : "expected no NaN among the visible scores");
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("select_blocks", &select_blocks_meta);
}

// A choice has no gradient: the mask is bool and never requires one.
TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("select_blocks", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
