#include "training/sharded_moments.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cstddef>
#include <utility>

namespace seer {
namespace {

// Flat weights have more numbers than a group has processes.
bool is_shared(const TrainedTensor& tensor) {
  return tensor.first_moment.numel() != tensor.value.numel();
}

at::Tensor host_zeros(const at::Tensor& value) {
  return at::zeros(value.sizes(), at::TensorOptions(at::kFloat));
}

// `state` with room for the moments of all, in the host's memory; what is no share is the same tensor as before.
TrainingState with_room(const TrainingState& state) {
  TrainingState whole = state;
  for (TrainedTensor& tensor : whole.tensors) {
    if (!is_shared(tensor)) continue;
    tensor.first_moment = host_zeros(tensor.value);
    tensor.second_moment = host_zeros(tensor.value);
  }
  return whole;
}

}  // namespace

at::Tensor own_share(const ProcessGroup& group, const at::Tensor& flat) {
  const ProcessGroup::Share share = group.share(flat.size(0));
  return flat.narrow(0, share.first, share.count);
}

TrainedTensor shared_tensor(const ProcessGroup& group, std::string name, const at::Tensor& flat) {
  const at::NoGradGuard no_grad;
  const at::Tensor own = own_share(group, flat);
  return {.name = std::move(name),
          .value = flat,
          .first_moment = at::zeros_like(own),
          .second_moment = at::zeros_like(own)};
}

TrainedTensor own_share(const ProcessGroup& group, const TrainedTensor& shared) {
  TrainedTensor own = shared;
  own.value = own_share(group, shared.value);
  return own;
}

std::vector<at::Tensor> values_of(const std::vector<TrainedTensor>& tensors) {
  std::vector<at::Tensor> values;
  for (const TrainedTensor& tensor : tensors) values.push_back(tensor.value);
  return values;
}

TrainingState with_all_moments(const ProcessGroup& group, const TrainingState& state) {
  const at::NoGradGuard no_grad;
  TrainingState whole = with_room(state);
  for (std::size_t i = 0; i < state.tensors.size(); ++i) {
    const TrainedTensor& tensor = state.tensors[i];
    if (!is_shared(tensor)) continue;
    own_share(group, whole.tensors[i].first_moment).copy_(tensor.first_moment);
    own_share(group, whole.tensors[i].second_moment).copy_(tensor.second_moment);
    group.complete(whole.tensors[i].first_moment);
    group.complete(whole.tensors[i].second_moment);
  }
  return whole;
}

void load_own_share(const ProcessGroup& group, const std::filesystem::path& folder,
                    TrainingState& state) {
  const at::NoGradGuard no_grad;
  TrainingState whole = with_room(state);
  load_training_state(folder, whole);
  state.step = whole.step;
  state.tokens = whole.tokens;
  for (std::size_t i = 0; i < state.tensors.size(); ++i) {
    if (!is_shared(state.tensors[i])) continue;
    state.tensors[i].first_moment.copy_(own_share(group, whole.tensors[i].first_moment));
    state.tensors[i].second_moment.copy_(own_share(group, whole.tensors[i].second_moment));
  }
}

}  // namespace seer
