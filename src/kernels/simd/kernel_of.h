// Picks a kernel of the instruction set asked for. For the part of a file that is compiled once (HWY_ONCE).
#pragma once

#include "base/cpu_isa.h"

// A pointer to `name` as compiled for `isa`; sets without code of their own take the next lower one.
#if defined(__x86_64__)
#define SEER_KERNEL_OF(isa, name)                   \
  ((isa) >= ::seer::CpuIsa::kAvx512 ? &N_AVX3::name \
   : (isa) == ::seer::CpuIsa::kAvx2 ? &N_AVX2::name \
                                    : &HWY_STATIC_DISPATCH(name))
#else
#define SEER_KERNEL_OF(isa, name) (static_cast<void>(isa), &HWY_STATIC_DISPATCH(name))
#endif
