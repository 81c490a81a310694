#include "parallel/launch_environment.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "base/quote.h"

namespace seer {
namespace {

constexpr int kMaxSize = 65536;

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return value;
}

std::string required(const char* name) {
  const std::optional<std::string> value = variable(name);
  if (value && !value->empty()) return *value;
  throw std::invalid_argument(fmt::format(
      "the environment variable {} is missing, though others of a group of processes are set: "
      "start the program with torchrun, or unset RANK and WORLD_SIZE",
      name));
}

int number(const char* name, int least, int most) {
  const std::string text = required(name);
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && read == end && value >= least && value <= most) return value;
  throw std::invalid_argument(fmt::format(
      "the environment variable {} is {}: expected an integer from {} to {}, as torchrun sets it",
      name, quote(text), least, most));
}

std::optional<bool> choice(const char* name) {
  const std::string text = variable(name).value_or("");
  if (text.empty()) return std::nullopt;
  if (text == "0" || text == "1") return text == "1";
  throw std::invalid_argument(
      fmt::format("the environment variable {} is {}: expected 0 or 1, or nothing to use NCCL "
                  "where several processes have GPUs",
                  name, quote(text)));
}

}  // namespace

std::optional<LaunchEnvironment> read_launch_environment() {
  if (!variable("WORLD_SIZE") && !variable("RANK")) return std::nullopt;
  LaunchEnvironment environment;
  environment.size = number("WORLD_SIZE", 1, kMaxSize);
  environment.rank = number("RANK", 0, environment.size - 1);
  environment.local_rank = number("LOCAL_RANK", 0, environment.size - 1);
  environment.address = required("MASTER_ADDR");
  environment.port = static_cast<std::uint16_t>(number("MASTER_PORT", 1, 65535));
  environment.has_store = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  environment.nccl = choice("SEER_NCCL");
  if (environment.size == 1 && environment.nccl != true) return std::nullopt;
  return environment;
}

}  // namespace seer
