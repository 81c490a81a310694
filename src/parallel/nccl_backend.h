// Sums between GPUs by NCCL, without a way through the host's memory.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <memory>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "parallel/heartbeat.h"
#include "seer/process_group.h"

namespace seer {

// The calls that every process of a group makes in the same order. They work in place, on contiguous tensors of `device()`,
// on its current stream, and return when the GPU has done them: a GPU that waits for a lost process would never end, and
// the host waits for it elsewhere without a way out. Each throws LostRank naming processes that are gone, and
// std::runtime_error with NCCL's words where all of them run; after either nothing more can be sent.
class NcclBackend {
 public:
  virtual ~NcclBackend() = default;

  virtual std::string version() const = 0;  // of the library: "2.28.9"
  virtual c10::Device device() const = 0;

  virtual void sum(const at::Tensor& tensor) = 0;
  virtual void broadcast(const at::Tensor& tensor, int from) = 0;
  // Of one dimension; each process, in their order, has its share of it.
  virtual void complete(const at::Tensor& flat, const std::vector<ProcessGroup::Share>& shares) = 0;
};

// Settings of NCCL's own in the environment, where a user made none. Before the first thread: others may read it.
void set_nccl_defaults();

// Meets the other processes, of which each has a GPU of its own; null in a build without NCCL. What it refers to must
// outlive it. Throws as the calls above, and std::runtime_error where libnccl.so.2 is missing or too old.
std::unique_ptr<NcclBackend> connect_nccl(c10d::Store& store, Heartbeat& heartbeat, int rank,
                                          int size, c10::Device device);

}  // namespace seer
