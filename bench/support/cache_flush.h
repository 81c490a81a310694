#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace seer::bench {

// Writes over a GPU's second-level cache, so that a timed call finds nothing of its operands there. On the CPU nothing:
// operands of interest are larger than its caches.
class CacheFlush {
 public:
  explicit CacheFlush(c10::Device device);
  void operator()() const;

 private:
  at::Tensor buffer_;  // undefined on the CPU
};

}  // namespace seer::bench
