#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "base/cpu_isa.h"

namespace seer {

// Chooses the instruction set for the time it lives.
class IsaGuard {
 public:
  explicit IsaGuard(CpuIsa isa) {
    if (const char* before = std::getenv("SEER_CPU_ISA")) before_ = before;
    setenv("SEER_CPU_ISA", std::string(cpu_isa_name(isa)).c_str(), 1);
  }
  ~IsaGuard() {
    if (before_.empty())
      unsetenv("SEER_CPU_ISA");
    else
      setenv("SEER_CPU_ISA", before_.c_str(), 1);
  }
  IsaGuard(const IsaGuard&) = delete;
  IsaGuard& operator=(const IsaGuard&) = delete;

 private:
  std::string before_;
};

inline std::vector<CpuIsa> supported_isas() {
  std::vector<CpuIsa> isas;
  for (CpuIsa isa : {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16}) {
    if (cpu_isa_supported(isa)) isas.push_back(isa);
  }
  return isas;
}

}  // namespace seer
