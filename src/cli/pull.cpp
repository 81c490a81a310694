#include "cli/pull.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "cli/interrupt.h"
#include "cli/progress_line.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct PullFlags {
  std::string model;
  std::string revision = "main";
  std::string endpoint;
  std::string cache;
  bool json = false;
  bool quiet = false;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string megabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

// One line that is written over on a terminal, a line now and then elsewhere.
class Progress {
 public:
  void show(const PullProgress& now) {
    if (start_ == Clock::time_point()) {
      start_ = last_ = Clock::now();
      start_bytes_ = now.bytes;
    }
    if (seconds_since(last_) < (drawn_.is_terminal() ? 0.2 : 10.0)) return;
    last_ = Clock::now();
    drawn_.show(line(now));
  }

  // Before anything else is written.
  void clear() { drawn_.clear(); }

 private:
  std::string line(const PullProgress& now) const {
    const double speed =
        static_cast<double>(now.bytes - std::min(now.bytes, start_bytes_)) / seconds_since(start_);
    std::string text = "seer: file " + std::to_string(now.file_number) + " of " +
                       std::to_string(now.files) + ", " + now.file + ": " + megabytes(now.bytes) +
                       " of " + megabytes(now.size);
    if (speed >= 1 && now.size > now.bytes) {
      const auto left =
          static_cast<std::uint64_t>(static_cast<double>(now.size - now.bytes) / speed);
      text += ", " + megabytes(static_cast<std::uint64_t>(speed)) + "/s, " +
              std::to_string(left / 60) + " min " + std::to_string(left % 60) + " s left";
    }
    return text;
  }

  ProgressLine drawn_;
  std::uint64_t start_bytes_ = 0;
  Clock::time_point start_;
  Clock::time_point last_;
};

void print_result(const PullFlags& flags, const PulledModel& pulled, double seconds) {
  if (flags.json) {
    const nlohmann::ordered_json line = {{"model", flags.model},
                                         {"revision", flags.revision},
                                         {"commit", pulled.commit},
                                         {"folder", pulled.folder.string()},
                                         {"files", pulled.files},
                                         {"bytes", pulled.bytes},
                                         {"downloaded_bytes", pulled.downloaded},
                                         {"seconds", seconds}};
    // Names of folders need not be UTF-8.
    std::cout << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
              << std::endl;
  } else {
    std::cout << pulled.folder.string() << std::endl;
  }
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
}

int pull(const PullFlags& flags) {
  if (!is_model_id(flags.model)) {
    throw std::invalid_argument("the model '" + flags.model +
                                "': expected org/name, such as Qwen/Qwen3-0.6B");
  }
  PullOptions options;
  options.revision = flags.revision;
  options.settings = hub_settings();
  if (!flags.endpoint.empty()) options.settings.endpoint = flags.endpoint;
  if (!flags.cache.empty()) options.settings.cache = flags.cache;
  Progress progress;
  if (!flags.quiet) {
    options.on_progress = [&](const PullProgress& now) { progress.show(now); };
    options.on_message = [&](const std::string& message) {
      progress.clear();
      std::cerr << "seer: " << message << std::endl;
    };
  }
  options.check = throw_if_interrupted;

  watch_for_interrupt();
  const Clock::time_point start = Clock::now();
  PulledModel pulled;
  try {
    pulled = pull_model(flags.model, options);
  } catch (const Interrupted&) {
    progress.clear();
    std::cerr << "seer: interrupted; what has arrived is kept: run the same command again to go on"
              << std::endl;
    return kExitInterrupted;
  } catch (...) {
    progress.clear();
    throw;
  }
  progress.clear();
  if (!flags.quiet) {
    std::cerr << "seer: " << flags.model << " at commit " << pulled.commit << ": " << pulled.files
              << " files, " << megabytes(pulled.bytes) << ", of which "
              << megabytes(pulled.downloaded) << " were downloaded now" << std::endl;
  }
  print_result(flags, pulled, seconds_since(start));
  return kExitDone;
}

}  // namespace

void add_pull(CLI::App& app, std::function<int()>& action) {
  CLI::App* command =
      app.add_subcommand("pull", "Download a model from a Hugging Face hub into the cache");
  auto flags = std::make_shared<PullFlags>();
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  command->add_option("model", flags->model, "org/name")->required();
  command->add_option("--revision", flags->revision, "A branch, a tag or a commit")
      ->capture_default_str();
  command->add_option("--endpoint", flags->endpoint,
                      "The hub (default: HF_ENDPOINT, or huggingface.co)");
  command->add_option("--cache-dir", flags->cache,
                      "The cache (default: HF_HUB_CACHE, or HF_HOME/hub)");
  command->add_flag("--json", flags->json, "One line of JSON on standard output and nothing else");
  command->add_flag("-q,--quiet", flags->quiet, "No progress and no messages but errors");
  command->callback([&action, flags] { action = [flags] { return pull(*flags); }; });
}

}  // namespace seer::cli
