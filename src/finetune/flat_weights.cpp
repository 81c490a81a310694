#include "finetune/flat_weights.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

namespace seer {
namespace {

std::int64_t count_of(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return count;
}

}  // namespace

FlatWeights::FlatWeights(const ModelConfig& config, const WeightSource& source,
                         const at::TensorOptions& options) {
  // Among tensors of one kind the order is that of the file, in which the projections that are one layer here (queries,
  // keys and values; gate and up) follow each other.
  const std::vector<ExpectedTensor> tensors = expected_tensors(config);
  std::int64_t end = 0;
  for (const bool is_matrix : {true, false}) {
    for (const ExpectedTensor& tensor : tensors) {
      if ((tensor.shape.size() > 1) != is_matrix) continue;
      places_[tensor.name] = {.first = end, .shape = tensor.shape};
      end += count_of(tensor.shape);
    }
    if (is_matrix) num_matrix_values_ = end;
  }
  const at::NoGradGuard no_grad;
  values_ = at::empty({end}, options.dtype(at::kFloat));
  for (const ExpectedTensor& tensor : tensors) {
    order_.push_back(tensor.name);
    const Place& place = places_.at(tensor.name);
    source.fill(tensor.name,
                values_.narrow(0, place.first, count_of(place.shape)).view(place.shape));
  }
  gradients_ = at::zeros_like(values_);
  copy_ = values_.to(options.dtype().toScalarType());
}

at::Tensor FlatWeights::vectors() const {
  return values_.narrow(0, num_matrix_values_, count() - num_matrix_values_);
}

at::Tensor FlatWeights::vector_gradients() const {
  return gradients_.narrow(0, num_matrix_values_, count() - num_matrix_values_);
}

TrainedWeight FlatWeights::weight(const std::vector<std::string>& names) const {
  const auto found = places_.find(names.front());
  if (found == places_.end()) return {};
  std::vector<std::int64_t> shape = found->second.shape;
  std::int64_t end = found->second.first;
  shape[0] = 0;
  for (const std::string& name : names) {
    const Place& place = places_.at(name);
    TORCH_CHECK(place.first == end, "weights: ", name, " does not follow the one before it");
    end += count_of(place.shape);
    shape[0] += place.shape[0];
  }
  const at::NoGradGuard no_grad;
  const auto part = [&](const at::Tensor& flat) {
    return flat.narrow(0, found->second.first, end - found->second.first).view(shape).detach();
  };
  TrainedWeight weight{.value = part(copy_), .gradient = part(gradients_)};
  weight.value.set_requires_grad(true);
  return weight;
}

std::vector<FlatWeights::Named> FlatWeights::named() const {
  std::vector<Named> tensors;
  for (const std::string& name : order_) {
    const Place& place = places_.at(name);
    tensors.push_back(
        {name, copy_.narrow(0, place.first, count_of(place.shape)).view(place.shape)});
  }
  return tensors;
}

void FlatWeights::update_copy() const {
  if (!copy_.is_same(values_)) copy_.copy_(values_);
}

}  // namespace seer
