#include "bench/support/machine.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <ctime>
#include <thread>

#include "base/cpu_isa.h"
#include "base/machine.h"
#include "bench/support/build_commit.h"

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

Machine describe_machine() {
  return {.cpu = cpu_model(),
          .logical_cpus = static_cast<int>(std::thread::hardware_concurrency()),
          .isa = std::string(cpu_isa_name(cpu_isa())),
          .threads = at::get_num_threads(),
          .torch = TORCH_VERSION,
          .commit = kBuildCommit,
          .date = utc_now()};
}

int default_threads() {
  return at::get_num_threads();
}

std::uint64_t available_memory_bytes() {
  return seer::available_memory_bytes();
}

}  // namespace seer::bench
