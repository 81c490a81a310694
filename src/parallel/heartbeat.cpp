#include "parallel/heartbeat.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

namespace seer {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kInterval(500);
constexpr milliseconds kFirstLook(1000);
// Of a caller whose wait is no sign of a loss yet: longer, but within the 30 s that torchrun leaves a process to end.
constexpr milliseconds kWatchPatience(8000);
constexpr milliseconds kPatience(4000);  // several beats, on a machine with much else to do

std::string beat_key(int rank) {
  return fmt::format("seer/beat/{}", rank);
}
std::string error_key(int rank) {
  return fmt::format("seer/error/{}", rank);
}

}  // namespace

SilentWarnings::SilentWarnings() : guard_(&handler_) {}

Heartbeat::Heartbeat(c10::intrusive_ptr<c10d::Store> store, int rank, int size)
    : store_(std::move(store)), rank_(rank), size_(size), thread_([this] { beat(); }) {}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Heartbeat::beat() {
  const SilentWarnings silent;
  std::unique_lock lock(mutex_);
  while (!ends_) {
    lock.unlock();
    try {
      store_->add(beat_key(rank_), 1);
    } catch (const std::exception&) {
      return;  // the store is gone: the next sum fails and says so
    }
    lock.lock();
    changed_.wait_for(lock, kInterval, [this] { return ends_; });
  }
}

void Heartbeat::tell(const std::string& error) {
  store_->set(error_key(rank_), std::vector<std::uint8_t>(error.begin(), error.end()));
}

Heartbeat::Beats Heartbeat::beats() {
  Beats counts;
  for (int rank = 0; rank < size_; ++rank) counts.push_back(store_->add(beat_key(rank), 0));
  return counts;
}

std::string Heartbeat::explain_loss() {
  const Beats before = beats();
  std::this_thread::sleep_for(kPatience);
  return lost_since(before);
}

std::string Heartbeat::lost_since(const Beats& before) {
  std::string said, silent;
  for (int rank = 0; rank < size_; ++rank) {
    if (rank == rank_) continue;
    if (store_->check({error_key(rank)})) {
      const std::vector<std::uint8_t> error = store_->get(error_key(rank));
      if (error.empty()) continue;  // it lost another
      said += fmt::format("{}rank {} ended with an error: {}", said.empty() ? "" : "; ", rank,
                          std::string(error.begin(), error.end()));
    } else if (store_->add(beat_key(rank), 0) == before[static_cast<std::size_t>(rank)]) {
      silent += fmt::format("{}rank {} is gone: it was killed, crashed, or cannot be reached",
                            silent.empty() ? "" : "; ", rank);
    }
  }
  return silent.empty() || said.empty() ? silent + said : silent + "; " + said;
}

LossWatch::LossWatch(Heartbeat& heartbeat)
    : heartbeat_(heartbeat), next_(Clock::now() + kFirstLook) {}

std::string LossWatch::look() {
  if (Clock::now() < next_) return "";
  const SilentWarnings silent;
  const std::string lost = before_.empty() ? "" : heartbeat_.lost_since(before_);
  before_ = heartbeat_.beats();
  next_ = Clock::now() + kWatchPatience;
  return lost;
}

}  // namespace seer
