#include "kernels/block_sparse_attention/reference.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "base/bfloat16.h"
#include "base/ceil_div.h"

namespace seer {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct BFloat16 {
  std::uint16_t bits;  // the upper half of a float32
};

double to_double(float value) {
  return value;
}
double to_double(double value) {
  return value;
}
double to_double(BFloat16 value) {
  return bfloat16_to_float(value.bits);
}

void store(double value, double& to) {
  to = value;
}
void store(double value, float& to) {
  to = static_cast<float>(value);
}
void store(double value, BFloat16& to) {
  to.bits = float_to_bfloat16(static_cast<float>(value));
}

// Eight partial sums, so that the compiler may use vectors without reordering anything.
template <typename T>
double dot(const double* q, const T* k, std::int64_t head_dim) {
  double partial[8] = {};
  std::int64_t d = 0;
  for (; d + 8 <= head_dim; d += 8) {
    for (int lane = 0; lane < 8; ++lane) partial[lane] += q[d + lane] * to_double(k[d + lane]);
  }
  for (; d < head_dim; ++d) partial[0] += q[d] * to_double(k[d]);
  double sum = 0;
  for (double lane : partial) sum += lane;
  return sum;
}

// The tokens [begin, end) of key block `index`.
struct KeyBlock {
  std::int64_t index;
  std::int64_t begin;
  std::int64_t end;
};

// One query block of one head.
template <typename T>
class Tile {
 public:
  Tile(const AttentionParams& params, std::int64_t batch, std::int64_t q_head, std::int64_t q_block)
      : params_(params), batch_(batch), q_head_(q_head), q_block_(q_block) {
    const std::int64_t kv_head = q_head / (params.num_q_heads / params.num_kv_heads);
    q_ = start<const T>(params.q, params.q_strides, q_head);
    k_ = start<const T>(params.k, params.k_strides, kv_head);
    v_ = start<const T>(params.v, params.v_strides, kv_head);
    out_ = start<T>(params.out, params.out_strides, q_head);
    flat_head_ = batch * params.num_q_heads + q_head;
  }

  void compute() {
    select_key_blocks();
    clear_block_map();
    const std::int64_t row_begin = q_block_ * params_.block_size;
    const std::int64_t row_end = std::min(row_begin + params_.block_size, params_.q_len);
    for (std::int64_t row = row_begin; row < row_end; ++row) compute_row(row);
  }

 private:
  template <typename U, typename Pointer>
  U* start(Pointer base, const Strides& strides, std::int64_t head) const {
    return static_cast<U*>(base) + batch_ * strides.batch + head * strides.head;
  }

  void select_key_blocks() {
    const std::int64_t num_kv_blocks = ceil_div(params_.kv_len, params_.block_size);
    const std::uint8_t* mask = nullptr;
    if (params_.block_mask != nullptr) {
      mask = params_.block_mask + batch_ * params_.mask_strides.batch +
             q_head_ / params_.mask_heads_per_group * params_.mask_strides.head +
             q_block_ * params_.mask_strides.row;
    }
    for (std::int64_t block = 0; block < num_kv_blocks; ++block) {
      if (mask != nullptr && mask[block] == 0) continue;
      const std::int64_t begin = block * params_.block_size;
      key_blocks_.push_back({block, begin, std::min(begin + params_.block_size, params_.kv_len)});
    }
  }

  void clear_block_map() {
    if (params_.block_map == nullptr) return;
    const std::int64_t num_q_blocks = ceil_div(params_.q_len, params_.block_size);
    const std::int64_t num_kv_blocks = ceil_div(params_.kv_len, params_.block_size);
    block_map_ = params_.block_map + (flat_head_ * num_q_blocks + q_block_) * num_kv_blocks;
    std::fill_n(block_map_, num_kv_blocks, 0.0F);
  }

  void compute_row(std::int64_t row) {
    const std::int64_t num_visible =
        params_.is_causal
            ? std::clamp<std::int64_t>(row + params_.kv_len - params_.q_len + 1, 0, params_.kv_len)
            : params_.kv_len;
    q_row_.resize(params_.head_dim);
    const T* q_row = q_ + row * params_.q_strides.row;
    for (std::int64_t d = 0; d < params_.head_dim; ++d) q_row_[d] = to_double(q_row[d]);

    scores_.resize(params_.kv_len);
    double row_max = -kInfinity;
    for (const KeyBlock& block : key_blocks_) {
      for (std::int64_t key = block.begin; key < std::min(block.end, num_visible); ++key) {
        scores_[key] =
            params_.scale * dot(q_row_.data(), k_ + key * params_.k_strides.row, params_.head_dim);
        row_max = std::max(row_max, scores_[key]);
      }
    }
    // A row whose scores are all -inf sees nothing, as one without keys; a NaN score reaches the
    // sum and makes the row NaN.
    const double shift = row_max == -kInfinity ? 0.0 : row_max;

    double sum = 0;
    accumulator_.assign(params_.head_dim, 0.0);
    for (const KeyBlock& block : key_blocks_) {
      for (std::int64_t key = block.begin; key < std::min(block.end, num_visible); ++key) {
        const double weight = std::exp(scores_[key] - shift);
        scores_[key] = weight;
        sum += weight;
        const T* v_row = v_ + key * params_.v_strides.row;
        for (std::int64_t d = 0; d < params_.head_dim; ++d) {
          accumulator_[d] += weight * to_double(v_row[d]);
        }
      }
    }

    const bool sees_nothing = sum == 0;
    params_.lse[flat_head_ * params_.q_len + row] =
        static_cast<float>(sees_nothing ? -kInfinity : shift + std::log(sum));
    T* out_row = out_ + row * params_.out_strides.row;
    for (std::int64_t d = 0; d < params_.head_dim; ++d) {
      store(sees_nothing ? 0.0 : accumulator_[d] / sum, out_row[d]);
    }
    if (block_map_ != nullptr && !sees_nothing) raise_block_map(num_visible, sum);
  }

  // scores_ holds the weights of one row by now.
  void raise_block_map(std::int64_t num_visible, double sum) {
    for (const KeyBlock& block : key_blocks_) {
      float& entry = block_map_[block.index];
      for (std::int64_t key = block.begin; key < std::min(block.end, num_visible); ++key) {
        const auto probability = static_cast<float>(scores_[key] / sum);
        if (probability > entry || std::isnan(probability)) entry = probability;
      }
    }
  }

  const AttentionParams& params_;
  std::int64_t batch_;
  std::int64_t q_head_;
  std::int64_t q_block_;
  std::int64_t flat_head_ = 0;  // index into [batch, num_q_heads]
  const T* q_ = nullptr;        // row 0 of this tile's head; likewise below
  const T* k_ = nullptr;
  const T* v_ = nullptr;
  T* out_ = nullptr;
  float* block_map_ = nullptr;        // [key blocks] of this query block, or null
  std::vector<KeyBlock> key_blocks_;  // that the mask keeps, ascending
  std::vector<double> q_row_;         // [head_dim]
  std::vector<double> scores_;        // [kv_len], then weights; only visible keys are set
  std::vector<double> accumulator_;   // [head_dim]
};

template <typename T>
void compute_tiles(const AttentionParams& params, std::int64_t tile_begin, std::int64_t tile_end) {
  const std::int64_t num_q_blocks = ceil_div(params.q_len, params.block_size);
  for (std::int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const std::int64_t flat_head = tile / num_q_blocks;
    Tile<T>(params, flat_head / params.num_q_heads, flat_head % params.num_q_heads,
            tile % num_q_blocks)
        .compute();
  }
}

}  // namespace

void attention_reference(const AttentionParams& params, std::int64_t tile_begin,
                         std::int64_t tile_end) {
  switch (params.element) {
    case Element::kFloat32: return compute_tiles<float>(params, tile_begin, tile_end);
    case Element::kBFloat16: return compute_tiles<BFloat16>(params, tile_begin, tile_end);
    case Element::kFloat64: return compute_tiles<double>(params, tile_begin, tile_end);
    case Element::kFloat16: break;
  }
  throw std::invalid_argument(
      "attention_reference: expected float32, bfloat16 or float64 elements");
}

}  // namespace seer
