// Who of a group still runs.
#pragma once

#include <c10/util/Exception.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace seer {

// While it lives, this thread's warnings of LibTorch are dropped: a lost connection writes pages of them, and is told in a
// sentence by whoever meets it.
class SilentWarnings {
 public:
  SilentWarnings();

 private:
  struct Handler final : c10::WarningHandler {
    void process(const c10::Warning& /*warning*/) override {}
  };
  Handler handler_;
  c10::WarningUtils::WarningHandlerGuard guard_;
};

// Counts up a number in the store, on a thread of its own, for as long as the process runs.
class Heartbeat {
 public:
  // `store` is a connection of its own: the calls of others would hold it up.
  Heartbeat(c10::intrusive_ptr<c10d::Store> store, int rank, int size);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // What the others shall say of this process.
  void tell(const std::string& error);
  // Takes a few seconds: which of the others ended or does not answer, in words. Throws what the store throws.
  std::string explain_loss();

 private:
  friend class LossWatch;
  using Beats = std::vector<std::int64_t>;  // of each rank

  void beat();
  Beats beats();
  // Of the others: whose number is as it was a while ago, and who ended with an error.
  std::string lost_since(const Beats& before);

  c10::intrusive_ptr<c10d::Store> store_;
  int rank_, size_;
  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread thread_;
};

// For a caller who waits for the others and asks again and again: who of them is gone.
class LossWatch {
 public:
  explicit LossWatch(Heartbeat& heartbeat);
  // In words; empty while nobody is known to be gone. Looks at the store every few seconds, and first when a second has
  // passed: most waits are shorter. Throws what the store throws.
  std::string look();

 private:
  using Clock = std::chrono::steady_clock;

  Heartbeat& heartbeat_;
  Clock::time_point next_;
  Heartbeat::Beats before_;
};

}  // namespace seer
