#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "seer/model.h"

namespace seer {

KvCache::KvCache(const ModelConfig& config, std::int64_t batch, std::int64_t capacity,
                 const at::TensorOptions& options)
    : batch_(batch), capacity_(capacity) {
  TORCH_CHECK(batch >= 0 && capacity >= 0, "KvCache: expected batch and capacity from 0, got ",
              batch, " and ", capacity);
  const auto make = [&] {
    return at::empty({batch, config.num_kv_heads, capacity, config.head_dim}, options);
  };
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    keys_.push_back(make());
    values_.push_back(make());
  }
}

KvCache KvCache::one_layer(const ModelConfig& config, std::int64_t capacity,
                           const at::TensorOptions& options) {
  ModelConfig one = config;
  one.num_layers = std::min<std::int64_t>(config.num_layers, 1);
  KvCache cache(one, 1, capacity, options);
  cache.keys_.resize(static_cast<std::size_t>(config.num_layers),
                     cache.keys_.empty() ? at::Tensor() : cache.keys_.front());
  cache.values_.resize(static_cast<std::size_t>(config.num_layers),
                       cache.values_.empty() ? at::Tensor() : cache.values_.front());
  return cache;
}

void KvCache::truncate(std::int64_t length) {
  TORCH_CHECK(length >= 0 && length <= length_, "KvCache::truncate: expected a length from 0 to ",
              length_, ", got ", length);
  length_ = length;
}

void KvCache::reserve(std::int64_t capacity) {
  if (capacity <= capacity_) return;
  const auto move = [&](at::Tensor& old) {
    at::Tensor larger = at::empty({old.size(0), old.size(1), capacity, old.size(3)}, old.options());
    larger.narrow(2, 0, length_).copy_(old.narrow(2, 0, length_));
    old = larger;
  };
  for (at::Tensor& keys : keys_) move(keys);
  for (at::Tensor& values : values_) move(values);
  capacity_ = capacity;
}

void KvCache::advance(std::int64_t tokens) {
  TORCH_CHECK(tokens >= 0 && length_ + tokens <= capacity_, "KvCache::advance: ", length_, " + ",
              tokens, " tokens do not fit the capacity of ", capacity_);
  length_ += tokens;
}

}  // namespace seer
