// Where a model runs: the CPU, or one NVIDIA GPU; and in what.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string_view>

namespace seer {

// "cpu", "cuda" (the first GPU) or "cuda:1". Throws std::invalid_argument naming the text and what is accepted.
c10::Device parse_device(std::string_view text);

// "float32", "bfloat16" or "float16", as flags and files name them.
std::string_view dtype_name(c10::ScalarType dtype);

// Throws std::runtime_error that says what is missing, and what to do, where this build on this machine cannot compute
// on the device.
void require_device(c10::Device device);

// Waits until everything that was queued on the device is done. Work on the CPU is done when its call returns.
void synchronize(c10::Device device);

// Bytes that new tensors may still take: on a GPU what is free there, with what LibTorch keeps of freed tensors. 0 where
// the system does not say.
std::uint64_t available_memory(c10::Device device);

// The most bytes that were in use at once since reset_peak_memory(): on a GPU those of tensors, on the CPU those of the
// process, since it began where the system cannot forget. 0 where the system does not say.
std::uint64_t peak_memory(c10::Device device);
void reset_peak_memory(c10::Device device);

}  // namespace seer
