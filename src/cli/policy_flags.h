#pragma once

#include <string>
#include <vector>

namespace seer::cli {

// The policies of a flag that may be given several times, with ';' between several in one.
std::vector<std::string> split_policies(const std::vector<std::string>& flags);

}  // namespace seer::cli
