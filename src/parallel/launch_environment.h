// What torchrun tells a process of its group.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace seer {

struct LaunchEnvironment {
  int rank = 0, size = 1, local_rank = 0;
  std::string address;  // where the store is
  std::uint16_t port = 0;
  bool has_store = false;    // torchrun itself runs it; else the first process does
  std::optional<bool> nccl;  // SEER_NCCL: whether NCCL is asked for or refused
};

// Nothing where no group is wanted: of one process, without SEER_NCCL=1. Throws std::invalid_argument naming the variable, its value and what is expected.
std::optional<LaunchEnvironment> read_launch_environment();

}  // namespace seer
