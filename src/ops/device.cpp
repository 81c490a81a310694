#include "seer/device.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <charconv>
#include <fstream>
#include <stdexcept>
#include <string>

#include "base/machine.h"
#include "base/quote.h"
#include "seer/cuda_devices.h"

namespace seer {
namespace {

constexpr std::size_t kAllPools =
    static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);

c10::DeviceAllocator& allocator_of(c10::Device device) {
  // Before that there is no allocator.
  at::globalContext().lazyInitDevice(device.type());
  return *c10::getDeviceAllocator(device.type());
}

}  // namespace

c10::Device parse_device(std::string_view text) {
  if (text == "cpu") return c10::kCPU;
  if (text == "cuda") return {c10::kCUDA, 0};
  constexpr std::string_view kPrefix = "cuda:";
  if (text.starts_with(kPrefix)) {
    const std::string_view digits = text.substr(kPrefix.size());
    c10::DeviceIndex index = 0;
    const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc() && rest == digits.data() + digits.size() && digits.front() != '-') {
      return {c10::kCUDA, index};
    }
  }
  throw std::invalid_argument("device " + quote(text) +
                              ": expected cpu, cuda, or cuda:N with the number of a GPU from 0");
}

std::string_view dtype_name(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::kFloat: return "float32";
    case c10::kBFloat16: return "bfloat16";
    case c10::kHalf: return "float16";
    default: throw std::invalid_argument("dtype: expected float32, bfloat16 or float16");
  }
}

void require_device(c10::Device device) {
  if (device.is_cpu()) return;
  const std::string wanted = "device " + device.str() + ": ";
  if (!device.is_cuda()) throw std::runtime_error(wanted + "expected cpu or cuda");
  const CudaSupport support = cuda_support();
  if (!support.has_kernels) {
    throw std::runtime_error(wanted +
                             "this build has no CUDA kernels: build with 'make cuda', or use cpu");
  }
  if (support.devices.empty()) {
    throw std::runtime_error(wanted + "there is no GPU" +
                             (support.problem.empty() ? "" : " (" + support.problem + ")") +
                             ": 'seer doctor' says what is missing; or use cpu");
  }
  const auto index = static_cast<std::size_t>(device.index());
  if (index >= support.devices.size()) {
    throw std::runtime_error(wanted + "this machine has " + std::to_string(support.devices.size()) +
                             " GPU" + (support.devices.size() == 1 ? "" : "s") +
                             ", numbered from 0");
  }
  const CudaDeviceInfo& gpu = support.devices[index];
  if (!gpu.runs_kernels) {
    throw std::runtime_error(wanted + gpu.name + " has compute capability " +
                             std::to_string(gpu.major) + "." + std::to_string(gpu.minor) +
                             ": the kernels are for 9.0 (Hopper: H100, H200, GH200); use cpu");
  }
}

void synchronize(c10::Device device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

std::uint64_t available_memory(c10::Device device) {
  if (device.is_cpu()) return available_memory_bytes();
  c10::DeviceAllocator& allocator = allocator_of(device);
  const auto stats = allocator.getDeviceStats(device.index());
  const std::int64_t kept =
      stats.reserved_bytes[kAllPools].current - stats.allocated_bytes[kAllPools].current;
  return allocator.getMemoryInfo(device.index()).first + static_cast<std::uint64_t>(kept);
}

std::uint64_t peak_memory(c10::Device device) {
  if (device.is_cpu()) return process_memory_bytes("VmHWM:");
  const auto stats = allocator_of(device).getDeviceStats(device.index());
  return static_cast<std::uint64_t>(stats.allocated_bytes[kAllPools].peak);
}

void reset_peak_memory(c10::Device device) {
  if (!device.is_cpu()) return allocator_of(device).resetPeakStats(device.index());
  // Documented in proc(5): 5 resets the peak resident set size.
  std::ofstream("/proc/self/clear_refs") << 5;
}

}  // namespace seer
