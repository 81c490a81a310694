// Attention gates: they predict, from queries and keys before RoPE, how much each query block looks at each key block.
//
// Notation: b batch, Hq and Hkv query and key/value heads, d head_dim, g the gate's width, B the block size.
//
// A gate works in two steps, so that a long prompt can come in chunks:
//   1. tokens become representatives: query_representatives() for the queries of a chunk, key_representatives() for its
//      keys. Those of whole key blocks never change and can be kept: concatenate them along dimension 2
//   2. block_logits() scores every query block against every key block
// Row r of the predicted map is the softmax of the logits' row r.
//
// Gradients flow to the gate's parameters and not into q and k, which are detached: the model is frozen.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "seer/attention.h"
#include "seer/config.h"
#include "seer/gate_config.h"

namespace seer {

// kNormal: normal(0, 0.02), the published one. kXavier: the older one, uniform with the bound that Xavier's rule gives
// for a 3-D tensor [heads, in, out]: sqrt(6 / (in * out + heads * out)). kIdentity: maps that pass the averages on and
// ignore the rest, so that the gate starts as mean pooling; needs avg on each mapped side and width == head_dim. Norms
// start at 1 in each.
enum class GateInit { kNormal, kXavier, kIdentity };
// "normal", "xavier" or "identity"; throws std::invalid_argument.
GateInit parse_gate_init(std::string_view name);

// One of a gate's tensors: float32, contiguous, on the CPU until GateSet::to(); the tensor itself is trained and loaded in
// place.
struct GateParameter {
  std::string name;  // as in files, without the layer: "mask_linear_k.weight"
  at::Tensor value;
};

// The gate of one layer. The base class of designs of one's own (docs/gates.md): implement the two functions, and
// block_logits too where a block's score is something else.
class Gate {
 public:
  // The tokens that a representative stands for, on each side: divisors of the block size.
  Gate(const GateConfig& config, const ModelConfig& model, std::int64_t q_tokens,
       std::int64_t k_tokens);
  virtual ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  const GateConfig& config() const { return config_; }
  std::int64_t num_q_heads() const { return model_.num_q_heads; }
  std::int64_t num_kv_heads() const { return model_.num_kv_heads; }
  std::int64_t head_dim() const { return model_.head_dim; }
  std::int64_t q_tokens() const { return q_tokens_; }
  std::int64_t k_tokens() const { return k_tokens_; }

  // q: [b, Hq, length, d], float32, bfloat16 or float64 (on CUDA float32, bfloat16 or float16), before RoPE (after the
  // model's own q norm, where it has one), any strides with a contiguous last dimension, on the device of the gate; the
  // first token is at `first_position`, which is also where the grid of query blocks begins. Returns
  // [b, Hq, ceil(length / q_tokens), g], float32 (float64 for float64); the built-in designs give bfloat16 on CUDA for
  // two-byte q where no gradient is asked for and their kernels serve the sizes: one launch, with bfloat16 weights.
  virtual at::Tensor query_representatives(const at::Tensor& q,
                                           std::int64_t first_position) const = 0;
  // k: [b, Hkv, length, d], as q; first_position is a multiple of the block size. Returns [b, Hk, ceil(length /
  // k_tokens), g], where Hk divides Hq: query head h reads Hk-head h / (Hq / Hk).
  virtual at::Tensor key_representatives(const at::Tensor& k,
                                         std::int64_t first_position) const = 0;

  // For training on tokens again without their q and k: features are all that representatives depend on besides the
  // parameters, of the dtype of q and k, without gradients, and
  //   query_representatives(q, p) = representatives_of_queries(query_features(q, p), p)
  // with the same bits; keys likewise. The default keeps q and k as they are; a design that pools first keeps the pools.
  virtual at::Tensor query_features(const at::Tensor& q, std::int64_t first_position) const;
  virtual at::Tensor key_features(const at::Tensor& k, std::int64_t first_position) const;
  // Where features are pool_blocks() of q and of k: which, so that others can make them.
  virtual AttentionPooling pooling() const { return {}; }
  virtual at::Tensor representatives_of_queries(const at::Tensor& features,
                                                std::int64_t first_position) const;
  virtual at::Tensor representatives_of_keys(const at::Tensor& features,
                                             std::int64_t first_position) const;

  // Raw scaled logits, float32 (float64 for float64) [b, Hq, ceil(q_len / B), ceil(kv_len / B)]:
  //   max over the block pair's representatives of q.k / sqrt(g)
  // and -inf for key blocks that no query of the row can see. Queries stand at the end of the keys, as in
  // block_sparse_attention: query i is at position kv_len - q_len + i. Inside a block that is seen in part all key
  // representatives count.
  //   q_reps  [b, Hq, ceil(q_len / q_tokens), g]; k_reps [b, Hk, ceil(kv_len / k_tokens), g]
  // Besides the result, memory does not grow with the square of the length. Differentiable: backward goes to the one pair
  // of representatives that gave the maximum (the first of equals).
  virtual at::Tensor block_logits(const at::Tensor& q_reps, const at::Tensor& k_reps,
                                  std::int64_t q_len, std::int64_t kv_len) const;

  // The block mask that a policy picks (as select_blocks() of seer/ops.h takes it): by a row's softmax where it is one of
  // threshold or mass, by the logits where it is one of ratio or budget. bool [b, Hq, query blocks, key blocks].
  //   thresholds  float32 [Hq] on the device of the representatives, or undefined: beside a policy of threshold, in place
  //               of its number
  // The default goes through block_logits(). A design that overrides block_logits() and not this need do nothing more.
  virtual at::Tensor select(const at::Tensor& q_reps, const at::Tensor& k_reps,
                            std::string_view policy, const at::Tensor& thresholds,
                            std::int64_t q_len, std::int64_t kv_len) const;

  // In a fixed order.
  const std::vector<GateParameter>& parameters() const { return parameters_; }
  // Draws all parameters anew. The default: 3-D tensors as the rule says, 1-D tensors 1; kIdentity is an error.
  virtual void initialise(GateInit init, at::Generator& generator);

 protected:
  const ModelConfig& model() const { return model_; }
  // A parameter of this shape, zeros at first. Call in the constructor only; keep the tensor.
  at::Tensor add_parameter(std::string name, at::IntArrayRef shape);

 private:
  GateConfig config_;
  ModelConfig model_;
  std::int64_t q_tokens_, k_tokens_;
  std::vector<GateParameter> parameters_;
};

// What Gate::block_logits computes, for designs that need it for representatives of their own. On CUDA representatives of
// bfloat16 go through the kernel of gate_block_logits() (seer/ops.h), which has no gradient; those of float32 through
// LibTorch's matrix products, with gradients.
//   q_reps [b, Hq, q blocks * (B / q_tokens) or fewer in the last, g], k_reps [b, Hk, ..., g], contiguous or not
at::Tensor max_block_logits(const at::Tensor& q_reps, const at::Tensor& k_reps, std::int64_t q_len,
                            std::int64_t kv_len, std::int64_t block_size, std::int64_t q_tokens,
                            std::int64_t k_tokens, double scale);

// x [b, heads, n, g] with row i turned by the position first_position + i * step, by the model's RoPE built for width g.
// Differentiable.
at::Tensor turn_representatives(const at::Tensor& x, const RopeConfig& rope,
                                std::int64_t first_position, std::int64_t step);

// Designs of one's own, by name. `make` returns a gate with zero weights and throws std::invalid_argument for a
// configuration that it cannot serve. Names have letters, digits, '-', '_' and '.' and are not of the form Q..._K...;
// std::invalid_argument for a name that is taken. A static GateRegistration in the design's file is enough.
using GateFactory =
    std::function<std::unique_ptr<Gate>(const GateConfig& config, const ModelConfig& model)>;
void register_gate_design(std::string name, GateFactory make);
std::vector<std::string> registered_gate_designs();
struct GateRegistration {
  GateRegistration(std::string name, GateFactory make) {
    register_gate_design(std::move(name), std::move(make));
  }
};

// The gate of one layer, with zero weights. Throws std::invalid_argument as check_gate_config does, also for decode
// gates.
std::unique_ptr<Gate> make_gate(const GateConfig& config, const ModelConfig& model);

// The gates of all layers.
class GateSet {
 public:
  // Zero weights.
  GateSet(const GateConfig& config, const ModelConfig& model);
  GateSet(GateSet&&) noexcept;
  GateSet& operator=(GateSet&&) noexcept;
  ~GateSet();

  // Reads an adapter's folder for this model: gate_config.json and gates.safetensors. Everything is checked: the
  // fingerprint, that the tensors are those expected, their shapes and types (F32, BF16, F16), and that each number is
  // finite. Throws std::runtime_error naming file, field or tensor, and what to do.
  static GateSet load(const std::filesystem::path& folder, const ModelConfig& model);
  // Writes the folder whole or not at all, in float32. What it replaces must be empty or an adapter. Throws
  // std::runtime_error naming the path.
  void save(const std::filesystem::path& folder) const;

  std::int64_t num_layers() const { return static_cast<std::int64_t>(layers_.size()); }
  Gate& layer(std::int64_t index) { return *layers_.at(static_cast<std::size_t>(index)); }
  const Gate& layer(std::int64_t index) const {
    return *layers_.at(static_cast<std::size_t>(index));
  }

  const GateConfig& config() const { return config_; }
  void set_training(std::string json) { config_.training = std::move(json); }
  void set_calibration(CalibrationTable table);  // as CalibrationTable::check()

  // Draws all parameters from one generator of its own: the same seed, the same bits.
  void initialise(GateInit init, std::uint64_t seed);
  void set_requires_grad(bool requires_grad);
  // Moves all parameters to the device, in place: tensors that a design or an optimizer holds move along.
  void to(c10::Device device);
  // Names as in files: "model.layers.3.self_attn.attn_gate.mask_linear_k.weight". Layer by layer.
  std::vector<GateParameter> parameters() const;
  std::int64_t parameter_count() const;

 private:
  GateConfig config_;
  std::vector<std::unique_ptr<Gate>> layers_;
};

}  // namespace seer
