// What a figure was measured on.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace seer::bench {

struct Machine {
  std::string cpu;  // model, as the system names it
  int logical_cpus = 0;
  std::string isa;     // of Seer's kernels
  int threads = 0;     // that LibTorch uses
  std::string torch;   // version
  std::string commit;  // of Seer's tree at build time; "unknown" outside git, "-dirty" when altered
  std::string date;    // UTC, ISO 8601
  std::string gpu;     // name, where it was measured on one
};

Machine describe_machine(c10::Device device = c10::kCPU);

// The fields of a record.
nlohmann::ordered_json machine_json(const Machine& machine);
// For people: "AMD EPYC, avx512 kernels, 2 threads" or "NVIDIA H200".
std::string machine_text(const Machine& machine);

// As many as LibTorch takes unless it is told.
int default_threads();

// What a new allocation may still take, the limit of a control group included; 0 where the system
// does not say.
std::uint64_t available_memory_bytes();

}  // namespace seer::bench
