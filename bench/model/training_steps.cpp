#include "bench/model/training_steps.h"

#include <fmt/format.h>

#include <stdexcept>

#include "bench/model/model_source.h"
#include "seer/device.h"

namespace seer::bench {

void check_training_steps(const ModelConfig& config, std::int64_t length, std::int64_t batch_size,
                          int repeats, int warmup) {
  if (length < 2 || length > config.max_positions) {
    throw std::invalid_argument(fmt::format("--seq {}: expected 2 to {}, the positions of {}",
                                            length, config.max_positions, config.name));
  }
  require_flag(batch_size >= 1, "--batch-size", batch_size, "1 or more");
  require_flag(repeats >= 1, "--repeats", repeats, "1 or more");
  require_flag(warmup >= 0, "--warmup", warmup, "0 or more");
}

std::vector<Samples> time_steps(const std::vector<Subject>& subjects, c10::Device device,
                                int warmup, int repeats, const std::function<void()>& before_call,
                                const std::function<void(const std::string&)>& say) {
  return time_alternating(
      subjects, device, warmup, repeats,
      [&] {
        before_call();
        synchronize(device);
      },
      [&](int done, int all, double seconds_left) {
        say(fmt::format("round {} of {}, about {:.0f} s left", done, all, seconds_left));
      });
}

}  // namespace seer::bench
