#include "bench/support/machine.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/cpu_isa.h"
#include "base/machine.h"
#include "bench/support/build_commit.h"
#include "seer/cuda_devices.h"

namespace seer::bench {
namespace {

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

Machine describe_machine(c10::Device device) {
  Machine machine = {.cpu = cpu_model(),
                     .logical_cpus = static_cast<int>(std::thread::hardware_concurrency()),
                     .isa = std::string(cpu_isa_name(cpu_isa())),
                     .threads = at::get_num_threads(),
                     .torch = TORCH_VERSION,
                     .commit = kBuildCommit,
                     .date = utc_now(),
                     .gpu = ""};
  if (device.is_cuda()) {
    const CudaSupport support = cuda_support();
    machine.gpu = support.devices.at(static_cast<std::size_t>(device.index())).name;
  }
  return machine;
}

nlohmann::ordered_json machine_json(const Machine& machine) {
  nlohmann::ordered_json json = {{"cpu", machine.cpu},     {"logical_cpus", machine.logical_cpus},
                                 {"isa", machine.isa},     {"threads", machine.threads},
                                 {"torch", machine.torch}, {"commit", machine.commit},
                                 {"date", machine.date}};
  if (!machine.gpu.empty()) json["gpu"] = machine.gpu;
  return json;
}

std::string machine_text(const Machine& machine) {
  if (!machine.gpu.empty()) return machine.gpu;
  return machine.cpu + ", " + machine.isa + " kernels, " + std::to_string(machine.threads) +
         " threads";
}

int default_threads() {
  return at::get_num_threads();
}

std::uint64_t available_memory_bytes() {
  return seer::available_memory_bytes();
}

}  // namespace seer::bench
