#include "bench/support/cache_flush.h"

#include <ATen/ops/empty.h>

#include <cstdint>

namespace seer::bench {
namespace {

constexpr std::int64_t kBytes = std::int64_t{256} << 20;  // several times the cache of any GPU

}  // namespace

CacheFlush::CacheFlush(c10::Device device) {
  if (!device.is_cpu()) {
    buffer_ = at::empty({kBytes}, at::TensorOptions(at::kByte).device(device));
  }
}

void CacheFlush::operator()() const {
  if (buffer_.defined()) buffer_.zero_();
}

}  // namespace seer::bench
