// Processes that train together, as torchrun starts them: each takes its share of a step's sequences.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace seer {

// Thrown on the others where a process of the group has ended or no longer answers; the message names it.
struct LostRank : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A handle; copies share the connection. Every process of a group must make the same calls in the same order. Tensors are
// contiguous and of the same shape and type everywhere; those of a GPU travel through the host's memory, or by NCCL after
// connect_gpus(). After a call all processes hold the same bits, and the same group and inputs give the same bits again. A
// process that has used NCCL calls barrier() before it lets go of the group: others may still read from its GPU.
class ProcessGroup {
 public:
  // A group of one, in which nothing is sent.
  ProcessGroup() = default;
  // Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT and SEER_NCCL, and meets the others; a group of one where
  // WORLD_SIZE is absent or 1. Throws std::invalid_argument naming the variable.
  static ProcessGroup from_environment();

  int rank() const;
  int size() const;
  int local_rank() const;  // on this machine
  bool is_first() const { return rank() == 0; }

  // From here on tensors of this process's GPU, another than the others', travel by NCCL: where this build has it and
  // SEER_NCCL is not 0. With SEER_NCCL=1 a group of one sends its tensors through NCCL too. On the CPU it changes nothing.
  // Throws std::runtime_error where libnccl.so.2 is missing or older than 2.14, and where NCCL cannot connect the GPUs.
  void connect_gpus(c10::Device device) const;
  // How they travel, in words: "by NCCL 2.28.9", "through the host's memory (Gloo; SEER_NCCL=0)"; empty before that call,
  // and where no GPU is used.
  std::string between_gpus() const;

  // Of `count` things that are shared out: those of a process, which follow each other.
  struct Share {
    std::int64_t first = 0, count = 0;
  };
  Share share(std::int64_t count) const { return share_of(rank(), count); }
  Share share_of(int rank, std::int64_t count) const;

  // In place, the sum over all processes. Several tensors of one type go together.
  void sum(const at::Tensor& tensor) const;
  void sum(const std::vector<at::Tensor>& tensors) const;
  // In place, what the first process has.
  void broadcast(const std::vector<at::Tensor>& tensors) const;
  // `flat` has one dimension, of which each process has its share: afterwards all have all of it.
  void complete(const at::Tensor& flat) const;
  // Whether it is so on any process.
  bool any(bool here) const;
  void barrier() const;

  // Throws std::runtime_error on each process where a setting is another than on the first, with both values.
  void require_same(const std::map<std::string, std::string>& settings) const;

  // Before this process ends with an error: what the others are to say of it; nothing where another was lost.
  void tell(const std::string& error) const noexcept;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace seer
