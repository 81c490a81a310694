#include "kernels/block_sparse_attention_backward/reference.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "base/ceil_div.h"
#include "base/element_value.h"

namespace seer {
namespace {

template <typename T>
double dot(const T* a, const T* b, std::int64_t head_dim) {
  double sum = 0;
  for (std::int64_t d = 0; d < head_dim; ++d) sum += widen(a[d]) * widen(b[d]);
  return sum;
}

// One key/value head of one batch entry. T is how an element lies in memory.
template <typename T>
class Unit {
 public:
  Unit(const AttentionBackwardParams& params, std::int64_t batch, std::int64_t kv_head)
      : params_(params),
        forward_(params.forward),
        batch_(batch),
        kv_head_(kv_head),
        grad_q_row_(forward_.head_dim),
        grad_k_(forward_.kv_len * forward_.head_dim),
        grad_v_(forward_.kv_len * forward_.head_dim) {}

  void compute() {
    const std::int64_t group = forward_.num_q_heads / forward_.num_kv_heads;
    for (std::int64_t head = kv_head_ * group; head < (kv_head_ + 1) * group; ++head) {
      for (std::int64_t row = 0; row < forward_.q_len; ++row) compute_row(head, row);
    }
    for (std::int64_t key = 0; key < forward_.kv_len; ++key) {
      store(&grad_k_[key * forward_.head_dim],
            at(static_cast<T*>(params_.grad_k), params_.grad_k_strides, kv_head_, key));
      store(&grad_v_[key * forward_.head_dim],
            at(static_cast<T*>(params_.grad_v), params_.grad_v_strides, kv_head_, key));
    }
  }

 private:
  template <typename U>
  U* at(U* base, const Strides& strides, std::int64_t head, std::int64_t row) const {
    return base + batch_ * strides.batch + head * strides.head + row * strides.row;
  }
  void store(const double* from, T* to) const {
    for (std::int64_t d = 0; d < forward_.head_dim; ++d) narrow(from[d], to + d);
  }

  bool is_kept(std::int64_t head, std::int64_t row, std::int64_t key) const {
    if (forward_.block_mask == nullptr) return true;
    const Strides& strides = forward_.mask_strides;
    return forward_
               .block_mask[batch_ * strides.batch +
                           head / forward_.mask_heads_per_group * strides.head +
                           row / forward_.block_size * strides.row + key / forward_.block_size] !=
           0;
  }

  void compute_row(std::int64_t head, std::int64_t row) {
    const std::int64_t dim = forward_.head_dim;
    const std::int64_t flat_row = (batch_ * forward_.num_q_heads + head) * forward_.q_len + row;
    const double lse = static_cast<double>(forward_.lse[flat_row]);
    const T* q = at(static_cast<const T*>(forward_.q), forward_.q_strides, head, row);
    const T* out = at(static_cast<const T*>(forward_.out), forward_.out_strides, head, row);
    const T* grad_out =
        at(static_cast<const T*>(params_.grad_out), params_.grad_out_strides, head, row);
    double delta = dot(grad_out, out, dim);
    if (params_.grad_lse != nullptr) delta -= static_cast<double>(params_.grad_lse[flat_row]);

    std::fill(grad_q_row_.begin(), grad_q_row_.end(), 0.0);
    const bool sees_nothing = lse == -std::numeric_limits<double>::infinity();
    const std::int64_t num_visible =
        sees_nothing         ? 0
        : forward_.is_causal ? std::clamp<std::int64_t>(row + forward_.kv_len - forward_.q_len + 1,
                                                        0, forward_.kv_len)
                             : forward_.kv_len;
    for (std::int64_t key = 0; key < num_visible; ++key) {
      if (!is_kept(head, row, key)) continue;
      const T* k = at(static_cast<const T*>(forward_.k), forward_.k_strides, kv_head_, key);
      const T* v = at(static_cast<const T*>(forward_.v), forward_.v_strides, kv_head_, key);
      const double probability = std::exp(forward_.scale * dot(q, k, dim) - lse);
      const double grad_score = forward_.scale * probability * (dot(grad_out, v, dim) - delta);
      double* grad_k = &grad_k_[key * dim];
      double* grad_v = &grad_v_[key * dim];
      for (std::int64_t d = 0; d < dim; ++d) {
        grad_q_row_[d] += grad_score * widen(k[d]);
        grad_k[d] += grad_score * widen(q[d]);
        grad_v[d] += probability * widen(grad_out[d]);
      }
    }
    store(grad_q_row_.data(),
          at(static_cast<T*>(params_.grad_q), params_.grad_q_strides, head, row));
  }

  const AttentionBackwardParams& params_;
  const AttentionParams& forward_;
  std::int64_t batch_;
  std::int64_t kv_head_;
  std::vector<double> grad_q_row_;       // [head_dim]
  std::vector<double> grad_k_, grad_v_;  // [kv_len][head_dim]
};

template <typename T>
void compute_units(const AttentionBackwardParams& params, std::int64_t unit_begin,
                   std::int64_t unit_end) {
  const std::int64_t num_kv_heads = params.forward.num_kv_heads;
  for (std::int64_t unit = unit_begin; unit < unit_end; ++unit) {
    Unit<T>(params, unit / num_kv_heads, unit % num_kv_heads).compute();
  }
}

}  // namespace

void attention_backward_reference(const AttentionBackwardParams& params, std::int64_t unit_begin,
                                  std::int64_t unit_end) {
  switch (params.forward.element) {
    case Element::kFloat32: return compute_units<float>(params, unit_begin, unit_end);
    case Element::kBFloat16: return compute_units<std::uint16_t>(params, unit_begin, unit_end);
    case Element::kFloat64: return compute_units<double>(params, unit_begin, unit_end);
    case Element::kFloat16: break;
  }
  throw std::invalid_argument(
      "attention_backward_reference: expected float32, bfloat16 or float64 elements");
}

}  // namespace seer
