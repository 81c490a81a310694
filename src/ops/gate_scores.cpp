#include "ops/gate_scores.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <cmath>

#include "base/selection_policy.h"
#include "ops/element.h"
#include "ops/same_device.h"
#include "ops/select_blocks.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def(
      "gate_block_logits(Tensor q_reps, Tensor k_reps, SymInt q_len, SymInt kv_len, int "
      "block_size, "
      "int q_tokens, int k_tokens, float scale) -> Tensor");
  m.def(
      "select_gate_blocks(Tensor q_reps, Tensor k_reps, str policy, Tensor? thresholds, SymInt "
      "q_len, "
      "SymInt kv_len, int block_size, int q_tokens, int k_tokens, float scale) -> Tensor");
}

at::Tensor gate_block_logits(const at::Tensor& q_reps, const at::Tensor& k_reps, std::int64_t q_len,
                             std::int64_t kv_len, std::int64_t block_size, std::int64_t q_tokens,
                             std::int64_t k_tokens, double scale) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("seer::gate_block_logits", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, c10::SymInt, c10::SymInt,
                            std::int64_t, std::int64_t, std::int64_t, double)>();
  return op.call(q_reps, k_reps, q_len, kv_len, block_size, q_tokens, k_tokens, scale);
}

at::Tensor select_gate_blocks(const at::Tensor& q_reps, const at::Tensor& k_reps,
                              std::string_view policy, const std::optional<at::Tensor>& thresholds,
                              std::int64_t q_len, std::int64_t kv_len, std::int64_t block_size,
                              std::int64_t q_tokens, std::int64_t k_tokens, double scale) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("seer::select_gate_blocks", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, std::string_view,
                            const std::optional<at::Tensor>&, c10::SymInt, c10::SymInt,
                            std::int64_t, std::int64_t, std::int64_t, double)>();
  return op.call(q_reps, k_reps, policy, thresholds, q_len, kv_len, block_size, q_tokens, k_tokens,
                 scale);
}

namespace {

// Int is std::int64_t or c10::SymInt.
template <typename Int>
Int num_blocks(const Int& length, std::int64_t tokens) {
  return (length + (tokens - 1)) / tokens;
}

void check_reps(const char* op, const char* name, const at::Tensor& reps, const c10::SymInt& length,
                std::int64_t tokens) {
  TORCH_CHECK(reps.dim() == 4, op, ": ", name,
              ": expected 4 dimensions [batch, heads, representatives, width], got ", reps.dim());
  TORCH_CHECK(reps.sym_size(2) == num_blocks(length, tokens), op, ": ", name, ": expected ",
              num_blocks(length, tokens), " representatives (", length, " tokens, ", tokens,
              " each), got ", reps.sym_size(2));
  TORCH_CHECK(reps.sym_size(3) <= 1 || reps.sym_stride(3) == 1, op, ": ", name,
              ": expected a contiguous last dimension, got strides ", reps.sym_strides());
}

void check_arguments(const char* op, const at::Tensor& q_reps, const at::Tensor& k_reps,
                     const c10::SymInt& q_len, const c10::SymInt& kv_len, std::int64_t block_size,
                     std::int64_t q_tokens, std::int64_t k_tokens, double scale) {
  TORCH_CHECK(q_len >= 0 && kv_len >= q_len, op, ": q_len=", q_len, " and kv_len=", kv_len,
              ": expected 0 <= q_len <= kv_len");
  TORCH_CHECK(block_size >= 1 && q_tokens >= 1 && k_tokens >= 1 && block_size % q_tokens == 0 &&
                  block_size % k_tokens == 0,
              op, ": q_tokens=", q_tokens, " and k_tokens=", k_tokens,
              ": expected divisors of block_size=", block_size);
  TORCH_CHECK(scale > 0 && std::isfinite(scale), op, ": scale=", scale,
              ": expected a finite number above 0");
  check_reps(op, "q_reps", q_reps, q_len, q_tokens);
  check_reps(op, "k_reps", k_reps, kv_len, k_tokens);
  TORCH_CHECK(k_reps.scalar_type() == q_reps.scalar_type(), op, ": k_reps: expected ",
              q_reps.scalar_type(), " (as q_reps), got ", k_reps.scalar_type());
  check_same_device(k_reps, "k_reps", q_reps, "q_reps");
  TORCH_CHECK(k_reps.sym_size(0) == q_reps.sym_size(0) && k_reps.sym_size(3) == q_reps.sym_size(3),
              op, ": k_reps: expected batch ", q_reps.sym_size(0), " and width ",
              q_reps.sym_size(3), " (as q_reps), got ", k_reps.sym_size(0), " and ",
              k_reps.sym_size(3));
  TORCH_CHECK(k_reps.sym_size(1) >= 1 && q_reps.sym_size(1) % k_reps.sym_size(1) == 0, op,
              ": k_reps: ", k_reps.sym_size(1), " heads do not divide the ", q_reps.sym_size(1),
              " heads of q_reps");
}

void check_thresholds(const SelectionPolicy& policy, const std::optional<at::Tensor>& thresholds,
                      const at::Tensor& q_reps) {
  if (!thresholds) return;
  TORCH_CHECK(policy.rule == PolicyRule::kThreshold,
              "select_gate_blocks: thresholds: expected none beside policy '", policy.to_string(),
              "', which has no threshold");
  TORCH_CHECK(thresholds->dim() == 1 && thresholds->sym_size(0) == q_reps.sym_size(1) &&
                  thresholds->scalar_type() == at::kFloat,
              "select_gate_blocks: thresholds: expected float32 [", q_reps.sym_size(1),
              "] (the heads of q_reps), got ", thresholds->scalar_type(), " ",
              thresholds->sym_sizes());
  check_same_device(*thresholds, "select_gate_blocks: thresholds", q_reps, "q_reps");
}

at::Tensor empty_map(const at::Tensor& q_reps, const c10::SymInt& q_len, const c10::SymInt& kv_len,
                     std::int64_t block_size, at::ScalarType type) {
  return at::empty_symint({q_reps.sym_size(0), q_reps.sym_size(1), num_blocks(q_len, block_size),
                           num_blocks(kv_len, block_size)},
                          q_reps.options().dtype(type));
}

at::Tensor gate_block_logits_meta(const at::Tensor& q_reps, const at::Tensor& k_reps,
                                  c10::SymInt q_len, c10::SymInt kv_len, std::int64_t block_size,
                                  std::int64_t q_tokens, std::int64_t k_tokens, double scale) {
  check_arguments("gate_block_logits", q_reps, k_reps, q_len, kv_len, block_size, q_tokens,
                  k_tokens, scale);
  return empty_map(q_reps, q_len, kv_len, block_size, at::kFloat);
}

at::Tensor select_gate_blocks_meta(const at::Tensor& q_reps, const at::Tensor& k_reps,
                                   std::string_view policy,
                                   const std::optional<at::Tensor>& thresholds, c10::SymInt q_len,
                                   c10::SymInt kv_len, std::int64_t block_size,
                                   std::int64_t q_tokens, std::int64_t k_tokens, double scale) {
  check_arguments("select_gate_blocks", q_reps, k_reps, q_len, kv_len, block_size, q_tokens,
                  k_tokens, scale);
  check_thresholds(parse_block_policy("select_gate_blocks", policy), thresholds, q_reps);
  return empty_map(q_reps, q_len, kv_len, block_size, at::kBool);
}

GateScoresParams params_of(const char* op, const GateScoresCall& call) {
  check_arguments(op, call.q_reps, call.k_reps, call.q_len, call.kv_len, call.block_size,
                  call.q_tokens, call.k_tokens, call.scale);
  const auto strides_of = [](const at::Tensor& reps) {
    return Strides{reps.stride(0), reps.stride(1), reps.stride(2)};
  };
  GateScoresParams params;
  params.element = element_of(call.q_reps, "q_reps");
  params.q_reps = call.q_reps.const_data_ptr();
  params.k_reps = call.k_reps.const_data_ptr();
  params.q_strides = strides_of(call.q_reps);
  params.k_strides = strides_of(call.k_reps);
  params.batch = call.q_reps.size(0);
  params.heads = call.q_reps.size(1);
  params.key_heads = call.k_reps.size(1);
  params.width = call.q_reps.size(3);
  params.q_len = call.q_len;
  params.kv_len = call.kv_len;
  params.block_size = call.block_size;
  params.q_tokens = call.q_tokens;
  params.k_tokens = call.k_tokens;
  params.scale = call.scale;
  return params;
}

}  // namespace

PreparedGateBlockLogits prepare_gate_block_logits(const GateScoresCall& call) {
  PreparedGateBlockLogits prepared{.params = params_of("gate_block_logits", call), .logits = {}};
  prepared.logits = empty_map(call.q_reps, call.q_len, call.kv_len, call.block_size, at::kFloat);
  prepared.params.logits = prepared.logits.mutable_data_ptr<float>();
  return prepared;
}

PreparedSelectGateBlocks prepare_select_gate_blocks(const GateScoresCall& call,
                                                    std::string_view policy_text,
                                                    const std::optional<at::Tensor>& thresholds) {
  PreparedSelectGateBlocks prepared;
  prepared.params.scores = params_of("select_gate_blocks", call);
  const SelectionPolicy policy = parse_block_policy("select_gate_blocks", policy_text);
  check_thresholds(policy, thresholds, call.q_reps);
  prepared.mask = empty_map(call.q_reps, call.q_len, call.kv_len, call.block_size, at::kBool);
  SelectBlocksParams& selection = prepared.params.selection;
  selection.mask = static_cast<std::uint8_t*>(prepared.mask.mutable_data_ptr());
  selection.block_size = call.block_size;
  selection.num_kv_blocks = prepared.mask.size(3);
  set_selection(policy, selection);
  if (thresholds) {
    prepared.thresholds = thresholds->contiguous();
    prepared.params.thresholds = prepared.thresholds.const_data_ptr<float>();
  }
  return prepared;
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("gate_block_logits", &gate_block_logits_meta);
  m.impl("select_gate_blocks", &select_gate_blocks_meta);
}

// Training goes through max_block_logits (seer/gate.h), which is differentiable; a backward through these says so.
TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("gate_block_logits", torch::autograd::autogradNotImplementedFallback());
  m.impl("select_gate_blocks", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
