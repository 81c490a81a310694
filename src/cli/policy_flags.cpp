#include "cli/policy_flags.h"

#include <sstream>

namespace seer::cli {

std::vector<std::string> split_policies(const std::vector<std::string>& flags) {
  std::vector<std::string> policies;
  for (const std::string& flag : flags) {
    std::istringstream parts(flag);
    for (std::string policy; std::getline(parts, policy, ';');) policies.push_back(policy);
  }
  return policies;
}

}  // namespace seer::cli
