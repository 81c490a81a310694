#pragma once

#include <iostream>
#include <string>

namespace seer::cli {

// How each benchmark ends: `lines` of JSON go to the file `out` where one is named, whole or not at all, and to standard
// output the lines (`as_json`) or the table. Returns kExitDone; throws std::runtime_error where either cannot be written.
int report_results(const std::string& out, bool as_json, const std::string& lines,
                   const std::string& table);

// A line of a benchmark's progress.
inline void say(const std::string& line) {
  std::cerr << "seer: " << line << std::endl;
}

}  // namespace seer::cli
