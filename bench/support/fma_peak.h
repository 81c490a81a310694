// How fast this processor multiplies and adds right now: the roof that a kernel is held against.
#pragma once

#include <string>

#include "base/cpu_isa.h"

namespace seer::bench {

enum class FmaKind {
  kFloat32,      // fused multiply-add; multiply and add where the set has no FMA
  kBFloat16Dot,  // vdpbf16ps: two bfloat16 products a lane, added in float32
};

// The instruction that kernels of this element type use most on `isa`.
FmaKind fma_kind(CpuIsa isa, bool is_bfloat16);

std::string fma_kind_name(FmaKind kind);  // "float32 fma" or "bfloat16 dot product"

// A fixed amount of arithmetic on registers alone, spread over LibTorch's threads.
class FmaPeak {
 public:
  // Sizes the work so that one run takes about `seconds`.
  FmaPeak(FmaKind kind, CpuIsa isa, int threads, double seconds);

  void run() const;
  double flops() const;  // floating-point operations of one run; a multiply-add is two

 private:
  FmaKind kind_;
  CpuIsa isa_;
  int threads_;
  long rounds_;
};

}  // namespace seer::bench
