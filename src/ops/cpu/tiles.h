// How the CPU keys spread a kernel's independent parts over LibTorch's threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/cpu_isa.h"

namespace seer {

// cpu_isa(), with its complaint about SEER_CPU_ISA as an error of LibTorch.
CpuIsa checked_cpu_isa();

// Calls compute(tile, scratch) once for each tile, from as many threads as LibTorch gives. Tiles are started in order,
// one at a time: their cost varies, and which thread computes one changes nothing. `scratch` is the calling thread's own
// memory, scratch_bytes of it, aligned to 64 bytes.
void for_each_tile(std::int64_t num_tiles, std::size_t scratch_bytes,
                   const std::function<void(std::int64_t tile, void* scratch)>& compute);

}  // namespace seer
