// LibTorch declares its process groups where these are defined, which its own libraries are built with.
#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO
#endif

#include "seer/process_group.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "base/quote.h"
#include "parallel/heartbeat.h"
#include "parallel/launch_environment.h"
#include "parallel/nccl_backend.h"

namespace seer {
namespace {

// How long the slowest process may take from one sum to the next: writing a large checkpoint is the longest.
constexpr std::chrono::minutes kPatience(30);
constexpr std::chrono::minutes kStartPatience(5);

std::string first_line(const std::exception& error) {
  const auto* c10_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text =
      c10_error != nullptr ? c10_error->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace

struct ProcessGroup::Impl {
  LaunchEnvironment environment;
  c10::intrusive_ptr<c10d::Store> store;
  std::unique_ptr<Heartbeat> heartbeat;
  c10::intrusive_ptr<c10d::Backend> gloo;
  std::unique_ptr<NcclBackend> nccl;
  std::string between_gpus;

  explicit Impl(LaunchEnvironment given) : environment(std::move(given)) {
    set_nccl_defaults();
    try {
      connect();
    } catch (const std::exception& error) {
      throw std::runtime_error(fmt::format(
          "rank {} of {} does not reach the others at MASTER_ADDR={}, MASTER_PORT={}: {}",
          environment.rank, environment.size, environment.address, environment.port,
          first_line(error)));
    }
  }

  void connect() {
    c10d::TCPStoreOptions options;
    options.port = environment.port;
    options.isServer = environment.rank == 0 && !environment.has_store;
    options.numWorkers = environment.size;
    options.waitWorkers = false;
    options.timeout = kStartPatience;
    const auto connection = c10::make_intrusive<c10d::TCPStore>(environment.address, options);
    // torchrun's store outlives a group that it starts again.
    const char* attempt = std::getenv("TORCHELASTIC_RESTART_COUNT");
    const std::string prefix = fmt::format("seer/{}", attempt == nullptr ? "0" : attempt);
    store = c10::make_intrusive<c10d::PrefixStore>(prefix, connection);
    heartbeat = std::make_unique<Heartbeat>(
        c10::make_intrusive<c10d::PrefixStore>(prefix, connection->clone()), environment.rank,
        environment.size);
    auto gloo_options = c10d::ProcessGroupGloo::Options::create(kPatience);
    gloo_options->devices.push_back(c10d::ProcessGroupGloo::createDefaultDevice());
    gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, environment.rank, environment.size,
                                                       std::move(gloo_options));
  }

  void connect_gpus(c10::Device device) {
    if (environment.nccl == false) {
      between_gpus = "through the host's memory (Gloo; SEER_NCCL=0)";
      return;
    }
    try {
      nccl = connect_nccl(*store, *heartbeat, environment.rank, environment.size, device);
    } catch (const LostRank& error) {
      throw LostRank(how_to_go_on(error.what()));
    } catch (const std::exception& error) {
      const std::string lost = who_is_lost();
      if (!lost.empty()) throw LostRank(how_to_go_on(lost));
      throw std::runtime_error(
          fmt::format("rank {} does not reach the other GPUs: {}; with SEER_NCCL=0 gradients "
                      "travel through the host's memory instead",
                      environment.rank, first_line(error)));
    }
    if (nccl != nullptr) {
      between_gpus = fmt::format("by NCCL {}", nccl->version());
    } else if (environment.nccl == true) {
      throw std::runtime_error(
          "SEER_NCCL=1, but this program was built without NCCL: build it with `make cuda` where "
          "nccl.h is found (docs/distributed.md), or unset SEER_NCCL");
    } else {
      between_gpus = "through the host's memory (Gloo; this program was built without NCCL)";
    }
  }

  static std::string how_to_go_on(const std::string& lost) {
    return lost + "; go on from the last checkpoint with --resume";
  }

  void run(const std::function<void()>& act) const {
    std::string lost;
    try {
      act();
      return;
    } catch (const LostRank& error) {
      lost = error.what();
    } catch (const std::exception& error) {
      lost = who_is_lost();
      if (lost.empty())
        lost = "the processes lost each other, though all of them run: " + first_line(error);
    }
    throw LostRank(how_to_go_on(lost));
  }

  // In words; empty where all of them run.
  std::string who_is_lost() const {
    const SilentWarnings silent;
    try {
      return heartbeat->explain_loss();
    } catch (const std::exception&) {
      return fmt::format("the store at {}:{} does not answer: {} is gone", environment.address,
                         environment.port,
                         environment.has_store ? "torchrun on that machine" : "rank 0");
    }
  }

  bool is_sent_by_nccl(const at::Tensor& tensor) const {
    return nccl != nullptr && tensor.device() == nccl->device();
  }

  // Gloo works on the host's memory: `action` gets a tensor there, and what it holds afterwards is taken back. NCCL works
  // on the tensor itself.
  void where_sent(const at::Tensor& tensor, const std::function<void(at::Tensor&)>& action) const {
    TORCH_CHECK(tensor.is_contiguous(), "ProcessGroup: expected a contiguous tensor");
    const at::NoGradGuard no_grad;
    if (tensor.numel() == 0) return;
    at::Tensor sent = tensor.detach();
    if (!is_sent_by_nccl(tensor)) sent = sent.cpu();
    action(sent);
    if (sent.device() != tensor.device()) tensor.detach().copy_(sent);
  }

  // As one tensor, so that one message does.
  void together(const std::vector<at::Tensor>& tensors,
                const std::function<void(at::Tensor&)>& action) const {
    if (tensors.empty()) return;
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> flat;
    for (const at::Tensor& tensor : tensors) flat.push_back(tensor.detach().reshape({-1}));
    const at::Tensor all = at::cat(flat);
    where_sent(all, action);
    std::int64_t first = 0;
    for (const at::Tensor& tensor : tensors) {
      tensor.detach().copy_(all.narrow(0, first, tensor.numel()).view(tensor.sizes()));
      first += tensor.numel();
    }
  }

  void sum(at::Tensor& sent) const {
    if (is_sent_by_nccl(sent)) return run([&] { nccl->sum(sent); });
    std::vector<at::Tensor> tensors = {sent};
    run([&] { gloo->allreduce(tensors, c10d::AllreduceOptions())->wait(); });
  }

  void broadcast(at::Tensor& sent, int from) const {
    if (is_sent_by_nccl(sent)) return run([&] { nccl->broadcast(sent, from); });
    std::vector<at::Tensor> tensors = {sent};
    c10d::BroadcastOptions options;
    options.rootRank = from;
    run([&] { gloo->broadcast(tensors, options)->wait(); });
  }

  void complete(at::Tensor& sent, const std::vector<Share>& shares) const {
    if (is_sent_by_nccl(sent)) return run([&] { nccl->complete(sent, shares); });
    for (int from = 0; from < environment.size; ++from) {
      const auto& [first, count] = shares[static_cast<std::size_t>(from)];
      if (count == 0) continue;
      at::Tensor part = sent.narrow(0, first, count);
      broadcast(part, from);
    }
  }
};

ProcessGroup ProcessGroup::from_environment() {
  ProcessGroup group;
  if (std::optional<LaunchEnvironment> environment = read_launch_environment())
    group.impl_ = std::make_shared<Impl>(std::move(*environment));
  return group;
}

int ProcessGroup::rank() const {
  return impl_ ? impl_->environment.rank : 0;
}

int ProcessGroup::size() const {
  return impl_ ? impl_->environment.size : 1;
}

int ProcessGroup::local_rank() const {
  return impl_ ? impl_->environment.local_rank : 0;
}

ProcessGroup::Share ProcessGroup::share_of(int rank, std::int64_t count) const {
  const auto before = [&](std::int64_t ranks) {
    return count / size() * ranks + count % size() * ranks / size();
  };
  return {.first = before(rank), .count = before(rank + 1) - before(rank)};
}

void ProcessGroup::connect_gpus(c10::Device device) const {
  if (!impl_) return;
  const std::optional<bool> asked = impl_->environment.nccl;
  require_same({{"device", c10::DeviceTypeName(device.type(), /*lower_case=*/true)},
                {"SEER_NCCL", asked ? (*asked ? "1" : "0") : "unset"}});
  if (device.is_cuda()) impl_->connect_gpus(device);
}

std::string ProcessGroup::between_gpus() const {
  return impl_ ? impl_->between_gpus : "";
}

void ProcessGroup::sum(const at::Tensor& tensor) const {
  if (impl_) impl_->where_sent(tensor, [&](at::Tensor& sent) { impl_->sum(sent); });
}

void ProcessGroup::sum(const std::vector<at::Tensor>& tensors) const {
  if (impl_) impl_->together(tensors, [&](at::Tensor& sent) { impl_->sum(sent); });
}

void ProcessGroup::broadcast(const std::vector<at::Tensor>& tensors) const {
  if (impl_) impl_->together(tensors, [&](at::Tensor& sent) { impl_->broadcast(sent, 0); });
}

void ProcessGroup::complete(const at::Tensor& flat) const {
  if (!impl_) return;
  std::vector<Share> shares;
  for (int rank = 0; rank < size(); ++rank) shares.push_back(share_of(rank, flat.size(0)));
  impl_->where_sent(flat, [&](at::Tensor& sent) { impl_->complete(sent, shares); });
}

bool ProcessGroup::any(bool here) const {
  if (!impl_) return here;
  at::Tensor count = at::full({1}, here ? 1 : 0, at::kInt);
  impl_->sum(count);
  return count.item<int>() > 0;
}

void ProcessGroup::barrier() const {
  any(false);
}

void ProcessGroup::require_same(const std::map<std::string, std::string>& settings) const {
  if (!impl_) return;
  for (const auto& [name, value] : settings) {
    const std::string key = "seer/setting/" + name;
    if (is_first()) {
      impl_->store->set(key, std::vector<std::uint8_t>(value.begin(), value.end()));
      continue;
    }
    const std::vector<std::uint8_t> bytes = impl_->store->get(key);
    const std::string first(bytes.begin(), bytes.end());
    if (first == value) continue;
    throw std::runtime_error(
        fmt::format("{} is {} on rank {}, but {} on rank 0: start all processes with the same "
                    "flags, text and model",
                    name, quote(value), rank(), quote(first)));
  }
}

void ProcessGroup::tell(const std::string& error) const noexcept {
  if (!impl_) return;
  try {
    impl_->heartbeat->tell(error);
  } catch (const std::exception&) {
    // The others see that this process is gone.
  }
}

}  // namespace seer
