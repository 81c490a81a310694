// Moments of flat weights of which each process of a group keeps and updates its share.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "seer/process_group.h"
#include "training/training_state.h"

namespace seer {

// Of one dimension: the part that is this process's.
at::Tensor own_share(const ProcessGroup& group, const at::Tensor& flat);

// `flat` with moments of its share alone, of zeros.
TrainedTensor shared_tensor(const ProcessGroup& group, std::string name, const at::Tensor& flat);
// What this process updates.
TrainedTensor own_share(const ProcessGroup& group, const TrainedTensor& shared);

std::vector<at::Tensor> values_of(const std::vector<TrainedTensor>& tensors);

// `state` with the moments of all processes where it holds shares. They are gathered in the host's memory.
TrainingState with_all_moments(const ProcessGroup& group, const TrainingState& state);
// As load_training_state(); of moments of which `state` holds shares, takes these.
void load_own_share(const ProcessGroup& group, const std::filesystem::path& folder,
                    TrainingState& state);

}  // namespace seer
