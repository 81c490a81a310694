#include "base/cpu_isa.h"

#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace seer {
namespace {

constexpr std::array kWorstFirst = {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512,
                                    CpuIsa::kAvx512Bf16};

std::string supported_names() {
  std::string names;
  for (CpuIsa isa : kWorstFirst) {
    if (!cpu_isa_supported(isa)) continue;
    if (!names.empty()) names += ", ";
    names += cpu_isa_name(isa);
  }
  return names;
}

CpuIsa best_supported() {
  CpuIsa best = CpuIsa::kPortable;
  for (CpuIsa isa : kWorstFirst) {
    if (cpu_isa_supported(isa)) best = isa;
  }
  return best;
}

}  // namespace

std::string_view cpu_isa_name(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kPortable: return "portable";
    case CpuIsa::kAvx2: return "avx2";
    case CpuIsa::kAvx512: return "avx512";
    case CpuIsa::kAvx512Bf16: return "avx512_bf16";
  }
  return "unknown";
}

bool cpu_isa_supported(CpuIsa isa) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd");
  switch (isa) {
    case CpuIsa::kPortable: return true;
    case CpuIsa::kAvx2: return avx2;
    case CpuIsa::kAvx512: return avx512;
    case CpuIsa::kAvx512Bf16: return avx512 && __builtin_cpu_supports("avx512bf16");
  }
  return false;
#else
  return isa == CpuIsa::kPortable;
#endif
}

CpuIsa cpu_isa() {
  static const CpuIsa best = best_supported();
  const char* asked = std::getenv("SEER_CPU_ISA");
  if (asked == nullptr || *asked == '\0') return best;
  for (CpuIsa isa : kWorstFirst) {
    if (cpu_isa_name(isa) == asked && cpu_isa_supported(isa)) return isa;
  }
  throw std::invalid_argument("SEER_CPU_ISA=" + std::string(asked) + ": expected one of " +
                              supported_names() + " (what this processor supports), or unset it");
}

}  // namespace seer
