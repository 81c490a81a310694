#include "cli/training_run.h"

#include <c10/util/Exception.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "cli/interrupt.h"
#include "seer/text_file.h"

namespace seer::cli {

namespace fs = std::filesystem;

std::string checkpoint_of(const std::string& out) {
  return fs::path(out).lexically_normal().string() + ".checkpoint";
}

void open_log(const std::string& path, std::int64_t steps_done, std::ofstream& log) {
  std::error_code error;  // that no folder could be made is an error of the log
  if (const fs::path parent = fs::path(path).parent_path(); !parent.empty())
    fs::create_directories(parent, error);
  const bool goes_on = steps_done > 0 && fs::is_regular_file(path, error);
  if (goes_on) {
    std::string kept;
    std::ifstream before(path);
    for (std::string line; std::getline(before, line);) {
      const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (json.is_object() && json.value("step", steps_done + 1) <= steps_done) kept += line + "\n";
    }
    write_text_file(fs::canonical(path).string(), kept);
  }
  log.open(path, goes_on ? std::ios::app : std::ios::trunc);
  if (!log) throw std::runtime_error(path + ": the log cannot be written; name another with --log");
}

std::string time_text(double seconds) {
  char text[32];
  if (seconds < 90) {
    std::snprintf(text, sizeof text, "%.0f s", seconds);
  } else if (seconds < 5400) {
    std::snprintf(text, sizeof text, "%.1f min", seconds / 60);
  } else {
    std::snprintf(text, sizeof text, "%.1f h", seconds / 3600);
  }
  return text;
}

int stopped(std::int64_t step, const ProcessGroup& group) {
  if (group.is_first()) {
    std::fprintf(stderr, "seer: stopped after step %lld; go on with --resume\n",
                 static_cast<long long>(step));
  }
  return kExitInterrupted;
}

std::string device_in_group(const std::string& device, const ProcessGroup& group) {
  return device == "cuda" && group.size() > 1 ? "cuda:" + std::to_string(group.local_rank())
                                              : device;
}

void begin_in_group(const ProcessGroup& group, c10::Device device) {
  group.barrier();
  group.connect_gpus(device);
  watch_for_interrupt();
  if (group.size() > 1) watch_for_termination();
  const std::string transport = group.between_gpus();
  if (!group.is_first() || transport.empty()) return;
  std::fprintf(stderr, "seer: %d process%s; between GPUs gradients travel %s\n", group.size(),
               group.size() == 1 ? "" : "es", transport.c_str());
}

int run_in_group(const std::function<int(const ProcessGroup&)>& verb) {
  const ProcessGroup group = ProcessGroup::from_environment();
  try {
    return verb(group);
  } catch (const LostRank&) {
    group.tell("");
    throw;
  } catch (const c10::Error& error) {
    group.tell(error.what_without_backtrace());
    throw;
  } catch (const std::exception& error) {
    group.tell(error.what());
    throw;
  }
}

void require_no_checkpoint(const std::string& checkpoint) {
  if (!fs::exists(checkpoint)) return;
  throw std::runtime_error(checkpoint +
                           ": the checkpoint of an unfinished run is here; go on with --resume, or "
                           "remove it to begin anew");
}

}  // namespace seer::cli
