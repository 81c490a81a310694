// What the verbs that train share.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace seer::cli {

// OUT.checkpoint
std::string checkpoint_of(const std::string& out);

// Opens the log of a run that has done so many steps: without the lines of later ones, which a resumed run writes again.
// Throws std::runtime_error naming the path.
void open_log(const std::string& path, std::int64_t steps_done, std::ofstream& log);

// "42 s", "12.5 min", "3.1 h"
std::string time_text(double seconds);

// Says how to go on; returns kExitInterrupted.
int stopped(std::int64_t step);

// Throws std::runtime_error where an unfinished run's checkpoint is in the way.
void require_no_checkpoint(const std::string& checkpoint);

}  // namespace seer::cli
