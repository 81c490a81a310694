#include "bench/support/machine.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "base/cpu_isa.h"
#include "bench/support/build_commit.h"

namespace seer::bench {
namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos && line.starts_with("model name")) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// The number that a file holds; nothing where it is missing or says "max".
std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
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
  std::uint64_t available = 0;
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    std::uint64_t kibibytes = 0;
    if (words >> key >> kibibytes && key == "MemAvailable:") available = kibibytes * 1024;
  }
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (limit && used && available > 0) {
    available = std::min(available, *limit - std::min(*limit, *used));
  }
  return available;
}

}  // namespace seer::bench
