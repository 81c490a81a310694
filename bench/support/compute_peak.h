// The arithmetic that a device offers, as a subject of the same rounds.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <string>

namespace seer::bench {

struct ComputePeak {
  std::string kind;  // what is run
  double flops = 0;  // of one run; a multiply-add is two
  std::function<void()> run;
};

// On the CPU multiply-adds on registers alone, on `threads` threads, with the instruction that kernels of this dtype use
// most. On a GPU a large matrix product of LibTorch, since no loop on registers keeps its tensor cores busy.
ComputePeak compute_peak(c10::Device device, c10::ScalarType dtype, int threads);

}  // namespace seer::bench
