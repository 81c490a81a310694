// What the verbs that train share.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <fstream>
#include <functional>
#include <string>

#include "seer/process_group.h"

namespace seer::cli {

// OUT.checkpoint
std::string checkpoint_of(const std::string& out);

// Opens the log of a run that has done so many steps: without the lines of later ones, which a resumed run writes again.
// Throws std::runtime_error naming the path.
void open_log(const std::string& path, std::int64_t steps_done, std::ofstream& log);

// "42 s", "12.5 min", "3.1 h"
std::string time_text(double seconds);

// The first process says how to go on; returns kExitInterrupted.
int stopped(std::int64_t step, const ProcessGroup& group);

// What a process of a group trains on: of `cuda` each takes the GPU of its number on its machine.
std::string device_in_group(const std::string& device, const ProcessGroup& group);

// Before the first step: waits until every process is there, connects their GPUs and says how gradients travel between
// them; from here on takes note of Ctrl-C.
void begin_in_group(const ProcessGroup& group, c10::Device device);

// Runs a verb in the group that torchrun started, or alone. The others are told of an error.
int run_in_group(const std::function<int(const ProcessGroup&)>& verb);

// Throws std::runtime_error where an unfinished run's checkpoint is in the way.
void require_no_checkpoint(const std::string& checkpoint);

}  // namespace seer::cli
