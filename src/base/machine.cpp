#include "base/machine.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>

namespace seer {
namespace {

// The number that a file holds; nothing where it is missing or says "max".
std::optional<std::uint64_t> number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

// "MemTotal:   1234 kB" and the like; 0 where there is no such line.
std::uint64_t bytes_in(const char* path, std::string_view wanted) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    std::uint64_t kibibytes = 0;
    if (words >> key >> kibibytes && key == wanted) return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos && line.starts_with("model name")) return line.substr(colon + 2);
  }
  return "unknown";
}

int usable_cpus() {
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
  std::ifstream file("/sys/fs/cgroup/cpu.max");  // "200000 100000": two processors' time
  std::int64_t quota = 0;
  std::int64_t period = 0;
  if (file >> quota >> period && quota > 0 && period > 0) {
    cpus = std::min<int>(cpus, static_cast<int>((quota + period - 1) / period));
  }
  return std::max(cpus, 1);
}

std::uint64_t total_memory_bytes() {
  const std::uint64_t total = bytes_in("/proc/meminfo", "MemTotal:");
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  return limit && total > 0 ? std::min(total, *limit) : total;
}

std::uint64_t available_memory_bytes() {
  const std::uint64_t available = bytes_in("/proc/meminfo", "MemAvailable:");
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (!limit || !used || available == 0) return available;
  return std::min(available, *limit - std::min(*limit, *used));
}

std::uint64_t process_memory_bytes(std::string_view field) {
  return bytes_in("/proc/self/status", field);
}

}  // namespace seer
