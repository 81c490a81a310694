#include "plain_gate.h"

#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace seer::test {
namespace {

using Vector = std::vector<double>;

// The parameter of this name as nested access; empty where the gate has none.
struct Weights {
  at::Tensor map;   // [heads, in, out]
  at::Tensor norm;  // [width]
};

Weights weights_of(const Gate& gate, const std::string& map, const std::string& norm) {
  Weights weights;
  for (const GateParameter& parameter : gate.parameters()) {
    if (parameter.name == map) weights.map = parameter.value.to(at::kDouble);
    if (parameter.name == norm) weights.norm = parameter.value.to(at::kDouble);
  }
  return weights;
}

// "maxavg16": which kinds, in the order of the text.
std::vector<std::string> kinds_in(const std::string& side) {
  std::vector<std::string> kinds;
  for (const char* kind : {"max", "min", "avg"})
    if (side.find(kind) != std::string::npos) kinds.emplace_back(kind);
  return kinds;
}

Vector pool(const at::TensorAccessor<double, 2>& x, std::int64_t begin, std::int64_t end,
            const std::vector<std::string>& kinds) {
  Vector pooled;
  for (const std::string& kind : kinds) {
    for (std::int64_t channel = 0; channel < x.size(1); ++channel) {
      double value = x[begin][channel];
      for (std::int64_t token = begin + 1; token < end; ++token) {
        const double next = x[token][channel];
        value = kind == "max"   ? std::max(value, next)
                : kind == "min" ? std::min(value, next)
                                : value + next;
      }
      pooled.push_back(kind == "avg" ? value / static_cast<double>(end - begin) : value);
    }
  }
  return pooled;
}

Vector apply(const Vector& x, const Weights& weights, std::int64_t head) {
  Vector y = x;
  if (weights.map.defined()) {
    const auto map = weights.map.accessor<double, 3>();
    y.assign(static_cast<std::size_t>(map.size(2)), 0.0);
    for (std::size_t j = 0; j < y.size(); ++j)
      for (std::size_t i = 0; i < x.size(); ++i)
        y[j] += x[i] * map[head][static_cast<std::int64_t>(i)][static_cast<std::int64_t>(j)];
  }
  if (weights.norm.defined()) {
    double squares = 0;
    for (const double value : y) squares += value * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(y.size()) + 1e-6);
    for (std::size_t j = 0; j < y.size(); ++j)
      y[j] *= scale * weights.norm[static_cast<std::int64_t>(j)].item<double>();
  }
  return y;
}

// Default RoPE alone; frequencies as float32, as the model has them.
void turn(Vector& x, double theta, std::int64_t position) {
  const std::size_t half = x.size() / 2;
  const Vector before = x;
  for (std::size_t j = 0; j < half; ++j) {
    const double angle =
        static_cast<double>(position) /
        std::pow(theta, 2.0 * static_cast<double>(j) / static_cast<double>(x.size()));
    x[j] = before[j] * std::cos(angle) - before[j + half] * std::sin(angle);
    x[j + half] = before[j + half] * std::cos(angle) + before[j] * std::sin(angle);
  }
}

// The representatives of one head, tokens per representative apart.
std::vector<Vector> representatives(const Gate& gate, const ModelConfig& model, const at::Tensor& x,
                                    const std::string& side, std::int64_t tokens,
                                    const Weights& weights, std::int64_t head,
                                    std::int64_t first_position) {
  const at::Tensor rows = x.to(at::kDouble).contiguous();
  const auto access = rows.accessor<double, 2>();
  std::vector<Vector> reps;
  for (std::int64_t begin = 0; begin < access.size(0); begin += tokens) {
    Vector rep =
        apply(pool(access, begin, std::min(begin + tokens, access.size(0)), kinds_in(side)),
              weights, head);
    if (gate.config().use_rope) turn(rep, model.rope.theta, first_position + begin);
    reps.push_back(std::move(rep));
  }
  return reps;
}

}  // namespace

at::Tensor plain_block_logits(const Gate& gate, const ModelConfig& model, const at::Tensor& q,
                              const at::Tensor& k) {
  const std::int64_t block = gate.config().block_size;
  const std::int64_t q_len = q.size(2);
  const std::int64_t kv_len = k.size(2);
  const std::int64_t past = kv_len - q_len;
  const std::string design = gate.config().design;
  const std::string q_side = design.substr(0, design.find("_K"));
  const std::string k_side = design.substr(design.find("_K"));
  const Weights q_weights = weights_of(gate, "mask_linear_q.weight", "attngate_qnorm.weight");
  const Weights k_weights = weights_of(gate, "mask_linear_k.weight", "attngate_knorm.weight");
  const std::int64_t group = q.size(1) / k.size(1);
  const std::int64_t q_blocks = (q_len + block - 1) / block;
  const std::int64_t kv_blocks = (kv_len + block - 1) / block;
  const at::Tensor out = at::full({q.size(0), q.size(1), q_blocks, kv_blocks},
                                  -std::numeric_limits<double>::infinity(), at::kDouble);
  auto logits = out.accessor<double, 4>();
  for (std::int64_t b = 0; b < q.size(0); ++b) {
    for (std::int64_t h = 0; h < q.size(1); ++h) {
      const bool per_query = k_weights.map.defined() && k_weights.map.size(0) == q.size(1);
      const auto queries =
          representatives(gate, model, q[b][h], q_side, gate.q_tokens(), q_weights, h, past);
      const auto keys = representatives(gate, model, k[b][h / group], k_side, gate.k_tokens(),
                                        k_weights, per_query ? h : h / group, 0);
      for (std::size_t i = 0; i < queries.size(); ++i) {
        for (std::size_t j = 0; j < keys.size(); ++j) {
          const auto row = static_cast<std::int64_t>(i) * gate.q_tokens() / block;
          const auto column = static_cast<std::int64_t>(j) * gate.k_tokens() / block;
          const std::int64_t last_query = past + std::min((row + 1) * block, q_len) - 1;
          if (column * block > last_query) continue;
          double product = 0;
          for (std::size_t c = 0; c < queries[i].size(); ++c) product += queries[i][c] * keys[j][c];
          product /= std::sqrt(static_cast<double>(queries[i].size()));
          logits[b][h][row][column] = std::max(logits[b][h][row][column], product);
        }
      }
    }
  }
  return out;
}

}  // namespace seer::test
