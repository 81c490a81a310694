// What the system says about this machine (Linux; elsewhere the answers are "unknown" and 0).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace seer {

std::string cpu_model();

// The processors that this process may run on: its affinity and the quota of its control group.
int usable_cpus();

// 0 where the system does not say. Limits of the control group are included.
std::uint64_t total_memory_bytes();
std::uint64_t available_memory_bytes();  // what a new allocation may still take

// Of this process: a field of /proc/self/status such as "VmRSS:" (resident now) or "VmHWM:" (at most so far).
std::uint64_t process_memory_bytes(std::string_view field);

}  // namespace seer
