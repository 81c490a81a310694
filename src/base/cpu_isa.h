// Which instruction set the CPU kernels use.
#pragma once

#include <string_view>

namespace seer {

// In order of preference, worst first. kAvx512Bf16 adds the BF16 dot product to kAvx512.
enum class CpuIsa { kPortable, kAvx2, kAvx512, kAvx512Bf16 };

// The name that SEER_CPU_ISA takes: "portable", "avx2", "avx512", "avx512_bf16".
std::string_view cpu_isa_name(CpuIsa isa);

// Whether this processor can run it.
bool cpu_isa_supported(CpuIsa isa);

// The best supported one, or the one that the environment variable SEER_CPU_ISA names. Read at
// every call, so that a test can change it. Throws std::invalid_argument when the variable's value
// is unknown or not supported here.
CpuIsa cpu_isa();

}  // namespace seer
