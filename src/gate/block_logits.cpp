// Scores of block pairs: the largest product over their representatives. The products of one tile of rows and keys are
// made at a time, so that they stay in the second-level cache and memory does not grow with the length.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/ceil_div.h"
#include "gate/block_products.h"
#include "seer/gate.h"
#include "seer/ops.h"

namespace seer {
namespace {

constexpr std::int64_t kTileElements = 32768;  // 128 KB of float32
constexpr std::int64_t kTileKeys = 512;        // representatives

// best[j] becomes the largest of `rows` rows of products; where `row_of` is given, it says which row that was (the first
// of equals).
template <typename T>
void max_over_rows(const T* products, std::int64_t stride, std::int64_t rows, std::int64_t columns,
                   T* best, std::int32_t* row_of) {
  std::copy_n(products, columns, best);
  if (row_of != nullptr) std::fill_n(row_of, columns, 0);
  for (std::int64_t row = 1; row < rows; ++row) {
    const T* next = products + row * stride;
    if (row_of == nullptr) {
      for (std::int64_t j = 0; j < columns; ++j) best[j] = next[j] > best[j] ? next[j] : best[j];
      continue;
    }
    const auto number = static_cast<std::int32_t>(row);
    for (std::int64_t j = 0; j < columns; ++j) {
      row_of[j] = next[j] > best[j] ? number : row_of[j];
      best[j] = next[j] > best[j] ? next[j] : best[j];
    }
  }
}

// One tile's products to scores of its blocks: `best` and `row_of` are as max_over_rows leaves them.
template <typename T>
void max_over_keys(const BlockPairs& shape, const T* best, const std::int32_t* row_of,
                   std::int64_t columns, T* logits, std::int32_t* pair_of) {
  const std::int64_t per_block = shape.keys_per_block;
  const T scale = static_cast<T>(shape.scale);
  for (std::int64_t first = 0; first < columns; first += per_block) {
    const std::int64_t count = std::min(per_block, columns - first);
    std::int64_t largest = 0;
    for (std::int64_t j = 1; j < count; ++j) {
      if (best[first + j] > best[first + largest]) largest = j;
    }
    *logits++ = best[first + largest] * scale;
    if (pair_of != nullptr) {
      *pair_of++ = static_cast<std::int32_t>(row_of[first + largest] * per_block + largest);
    }
  }
}

// pair_of: int32 as the logits, or undefined: which pair of representatives gave the maximum, as row * keys_per_block +
// key, both counted inside their blocks; -1 where nothing is visible.
template <typename T>
void fill_logits(const BlockPairs& shape, const at::Tensor& q_reps, const at::Tensor& k_reps,
                 const at::Tensor& logits, const at::Tensor& pair_of) {
  const std::int64_t heads = q_reps.size(1);
  const std::int64_t heads_per_key_head = heads / k_reps.size(1);
  const std::int64_t num_rows = q_reps.size(2);
  const std::int64_t num_keys = k_reps.size(2);
  const std::int64_t kv_blocks = shape.kv_blocks();
  const std::int64_t tile_keys =
      std::max(std::min(kTileKeys, num_keys) / shape.keys_per_block, std::int64_t{1}) *
      shape.keys_per_block;
  const std::int64_t tile_blocks =
      std::max(kTileElements / tile_keys / shape.rows_per_block, std::int64_t{1});
  const std::int64_t tiles = ceil_div(shape.q_blocks(), tile_blocks);
  T* const out = logits.mutable_data_ptr<T>();
  std::int32_t* const pairs =
      pair_of.defined() ? pair_of.mutable_data_ptr<std::int32_t>() : nullptr;

  at::parallel_for(0, q_reps.size(0) * heads * tiles, 1, [&](std::int64_t begin, std::int64_t end) {
    // The grad mode is the thread's own.
    const at::NoGradGuard no_grad;
    const at::Tensor products =
        at::empty({tile_blocks * shape.rows_per_block * tile_keys}, q_reps.options());
    std::vector<T> best(static_cast<std::size_t>(tile_keys));
    std::vector<std::int32_t> row_of(pairs != nullptr ? best.size() : 0);
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t batch = task / (heads * tiles);
      const std::int64_t head = task / tiles % heads;
      const std::int64_t first_block = task % tiles * tile_blocks;
      const std::int64_t last_block = std::min(first_block + tile_blocks, shape.q_blocks());
      const std::int64_t first_row = first_block * shape.rows_per_block;
      const std::int64_t rows = std::min(last_block * shape.rows_per_block, num_rows) - first_row;
      const at::Tensor q = q_reps.select(0, batch).select(0, head).narrow(0, first_row, rows);
      const at::Tensor k = k_reps.select(0, batch).select(0, head / heads_per_key_head);
      const std::int64_t keys =
          std::min(shape.visible_blocks(last_block - 1) * shape.keys_per_block, num_keys);
      for (std::int64_t first_key = 0; first_key < keys; first_key += tile_keys) {
        const std::int64_t width = std::min(tile_keys, keys - first_key);
        at::Tensor tile = products.narrow(0, 0, rows * width).view({rows, width});
        at::mm_out(tile, q, k.narrow(0, first_key, width).t());
        for (std::int64_t block = first_block; block < last_block; ++block) {
          const std::int64_t seen =
              std::min(shape.visible_blocks(block) * shape.keys_per_block, num_keys) - first_key;
          if (seen <= 0) continue;
          const std::int64_t columns = std::min(width, seen);
          const std::int64_t row = (block - first_block) * shape.rows_per_block;
          max_over_rows(tile.const_data_ptr<T>() + row * width, width,
                        std::min(shape.rows_per_block, rows - row), columns, best.data(),
                        pairs != nullptr ? row_of.data() : nullptr);
          const std::int64_t place =
              ((batch * heads + head) * shape.q_blocks() + block) * kv_blocks +
              first_key / shape.keys_per_block;
          max_over_keys(shape, best.data(), row_of.data(), columns, out + place,
                        pairs != nullptr ? pairs + place : nullptr);
        }
      }
    }
  });
}

// to[i] += factor * from[i]
template <typename T>
void add_scaled(T factor, const T* from, std::int64_t count, T* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] += factor * from[i];
}

// The gradient of a block goes to the two representatives that gave its maximum. A key head is one thread's, so that
// sums are in a fixed order.
template <typename T>
void fill_gradients(const BlockPairs& shape, const at::Tensor& q_reps, const at::Tensor& k_reps,
                    const at::Tensor& grad, const at::Tensor& pair_of, const at::Tensor& q_grad,
                    const at::Tensor& k_grad) {
  const std::int64_t key_heads = k_reps.size(1);
  const std::int64_t heads_per_key_head = q_reps.size(1) / key_heads;
  const std::int64_t num_rows = q_reps.size(2);
  const std::int64_t num_keys = k_reps.size(2);
  const std::int64_t width = q_reps.size(3);
  const std::int64_t q_blocks = shape.q_blocks();
  const std::int64_t kv_blocks = shape.kv_blocks();
  const T scale = static_cast<T>(shape.scale);
  const T* const q = q_reps.const_data_ptr<T>();
  const T* const k = k_reps.const_data_ptr<T>();
  const T* const g = grad.const_data_ptr<T>();
  const std::int32_t* const pairs = pair_of.const_data_ptr<std::int32_t>();
  T* const dq = q_grad.mutable_data_ptr<T>();
  T* const dk = k_grad.mutable_data_ptr<T>();
  at::parallel_for(0, k_reps.size(0) * key_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t key_head = begin; key_head < end; ++key_head) {
      for (std::int64_t member = 0; member < heads_per_key_head; ++member) {
        const std::int64_t head = key_head * heads_per_key_head + member;
        for (std::int64_t block = 0; block < q_blocks; ++block) {
          const std::int64_t place = (head * q_blocks + block) * kv_blocks;
          for (std::int64_t kv_block = 0; kv_block < shape.visible_blocks(block); ++kv_block) {
            const std::int64_t pair = pairs[place + kv_block];
            const T factor = g[place + kv_block] * scale;
            const std::int64_t row =
                head * num_rows + block * shape.rows_per_block + pair / shape.keys_per_block;
            const std::int64_t key =
                key_head * num_keys + kv_block * shape.keys_per_block + pair % shape.keys_per_block;
            add_scaled(factor, k + key * width, width, dq + row * width);
            add_scaled(factor, q + row * width, width, dk + key * width);
          }
        }
      }
    }
  });
}

at::Tensor logits_of(const BlockPairs& shape, const at::Tensor& q_reps, const at::Tensor& k_reps,
                     const at::Tensor& pair_of) {
  if (q_reps.is_cuda() && q_reps.numel() > 0 && shape.kv_blocks() > 0)
    return largest_products(shape, q_reps, k_reps, false).logits;
  const at::Tensor logits =
      at::full({q_reps.size(0), q_reps.size(1), shape.q_blocks(), shape.kv_blocks()},
               -std::numeric_limits<double>::infinity(), q_reps.options());
  if (logits.numel() == 0) return logits;
  if (q_reps.scalar_type() == at::kDouble) {
    fill_logits<double>(shape, q_reps, k_reps, logits, pair_of);
  } else {
    fill_logits<float>(shape, q_reps, k_reps, logits, pair_of);
  }
  return logits;
}

class MaxBlockLogits : public torch::autograd::Function<MaxBlockLogits> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& q_reps,
                            const at::Tensor& k_reps, const BlockPairs& shape) {
    const at::Tensor q = q_reps.contiguous();
    const at::Tensor k = k_reps.contiguous();
    if (q.is_cuda()) {
      const LargestProducts largest = largest_products(shape, q.detach(), k.detach(), true);
      save(context, q, k, largest.pair_of, shape);
      return largest.logits;
    }
    const at::Tensor pair_of = at::full({q.size(0), q.size(1), shape.q_blocks(), shape.kv_blocks()},
                                        -1, q.options().dtype(at::kInt));
    at::Tensor logits = logits_of(shape, q.detach(), k.detach(), pair_of);
    save(context, q, k, pair_of, shape);
    return logits;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    TORCH_CHECK(!(at::GradMode::is_enabled() && grads[0].requires_grad()),
                "block_logits: there is no second derivative");
    const auto saved = context->get_saved_variables();
    const std::vector<std::int64_t> lengths = context->saved_data["lengths"].toIntVector();
    const BlockPairs shape{lengths[0], lengths[1], lengths[2],
                           lengths[3], lengths[4], context->saved_data["scale"].toDouble()};
    const at::Tensor q = saved[0].detach();
    const at::Tensor k = saved[1].detach();
    if (q.is_cuda()) {
      const ProductGradients gradients = product_gradients(shape, q, k, grads[0], saved[2]);
      return {gradients.q_reps, gradients.k_reps, at::Tensor()};
    }
    at::Tensor q_grad = at::zeros_like(q);
    at::Tensor k_grad = at::zeros_like(k);
    const at::Tensor grad = grads[0].contiguous();
    if (q.scalar_type() == at::kDouble) {
      fill_gradients<double>(shape, q, k, grad, saved[2], q_grad, k_grad);
    } else {
      fill_gradients<float>(shape, q, k, grad, saved[2], q_grad, k_grad);
    }
    return {q_grad, k_grad, at::Tensor()};
  }

 private:
  static void save(torch::autograd::AutogradContext* context, const at::Tensor& q,
                   const at::Tensor& k, const at::Tensor& pair_of, const BlockPairs& shape) {
    context->save_for_backward({q, k, pair_of});
    context->saved_data["lengths"] = std::vector<std::int64_t>{
        shape.q_len, shape.kv_len, shape.block_size, shape.rows_per_block, shape.keys_per_block};
    context->saved_data["scale"] = shape.scale;
  }
};

void check_reps(const char* name, const at::Tensor& reps, std::int64_t length,
                std::int64_t tokens) {
  TORCH_CHECK(reps.dim() == 4, "block_logits: ", name,
              ": expected 4 dimensions [batch, heads, representatives, width], got ", reps.dim());
  TORCH_CHECK(reps.scalar_type() == at::kFloat || reps.scalar_type() == at::kDouble ||
                  (reps.is_cuda() && reps.scalar_type() == at::kBFloat16),
              "block_logits: ", name, ": expected float32 or float64 (on CUDA also bfloat16), got ",
              reps.scalar_type());
  TORCH_CHECK(reps.size(2) == ceil_div(length, tokens), "block_logits: ", name, ": expected ",
              ceil_div(length, tokens), " representatives of ", length, " tokens, got ",
              reps.size(2));
}

}  // namespace

at::Tensor max_block_logits(const at::Tensor& q_reps, const at::Tensor& k_reps, std::int64_t q_len,
                            std::int64_t kv_len, std::int64_t block_size, std::int64_t q_tokens,
                            std::int64_t k_tokens, double scale) {
  TORCH_CHECK(q_len >= 0 && kv_len >= q_len, "block_logits: q_len=", q_len, " and kv_len=", kv_len,
              ": expected 0 <= q_len <= kv_len");
  TORCH_CHECK(block_size >= 1 && q_tokens >= 1 && k_tokens >= 1 && block_size % q_tokens == 0 &&
                  block_size % k_tokens == 0,
              "block_logits: q_tokens=", q_tokens, " and k_tokens=", k_tokens,
              ": expected divisors of block_size=", block_size);
  TORCH_CHECK(scale > 0 && std::isfinite(scale), "block_logits: scale=", scale,
              ": expected a finite number above 0");
  check_reps("q_reps", q_reps, q_len, q_tokens);
  check_reps("k_reps", k_reps, kv_len, k_tokens);
  TORCH_CHECK(k_reps.scalar_type() == q_reps.scalar_type(), "block_logits: k_reps: expected ",
              q_reps.scalar_type(), " (as q_reps), got ", k_reps.scalar_type());
  TORCH_CHECK(k_reps.size(0) == q_reps.size(0) && k_reps.size(3) == q_reps.size(3),
              "block_logits: k_reps: expected batch ", q_reps.size(0), " and width ",
              q_reps.size(3), " (as q_reps), got ", k_reps.size(0), " and ", k_reps.size(3));
  TORCH_CHECK(k_reps.size(1) >= 1 && q_reps.size(1) % k_reps.size(1) == 0,
              "block_logits: k_reps: ", k_reps.size(1), " heads do not divide the ", q_reps.size(1),
              " heads of q_reps");
  TORCH_CHECK(k_reps.device() == q_reps.device(), "block_logits: k_reps: expected device ",
              q_reps.device(), " (as q_reps), got ", k_reps.device());
  if (q_reps.scalar_type() == at::kBFloat16) {
    return gate_block_logits(q_reps, k_reps, q_len, kv_len, block_size, q_tokens, k_tokens, scale);
  }
  const BlockPairs shape{q_len, kv_len, block_size, block_size / q_tokens, block_size / k_tokens,
                         scale};
  if (at::GradMode::is_enabled() && (q_reps.requires_grad() || k_reps.requires_grad())) {
    return MaxBlockLogits::apply(q_reps, k_reps, shape);
  }
  return logits_of(shape, q_reps.contiguous().detach(), k_reps.contiguous().detach(), {});
}

}  // namespace seer
