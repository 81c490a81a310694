#include "training/training_state.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cstddef>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/config_fields.h"
#include "base/json.h"
#include "base/quote.h"
#include "io/safetensors_writer.h"
#include "io/whole_folder.h"
#include "seer/checkpoint.h"

namespace seer {
namespace {

constexpr const char* kTensorsFile = "training.safetensors";
constexpr const char* kStateFile = "training.json";
constexpr const char* kFirstMoment = ".exp_avg";
constexpr const char* kSecondMoment = ".exp_avg_sq";

struct StoredTensor {
  std::string name;
  at::Tensor value;
};

// Values and moments; the tensors are shared, not copied.
std::vector<StoredTensor> stored_tensors(const TrainingState& state) {
  std::vector<StoredTensor> tensors;
  for (const TrainedTensor& tensor : state.tensors) {
    tensors.push_back({tensor.name, tensor.value.detach()});
    tensors.push_back({tensor.name + kFirstMoment, tensor.first_moment});
    tensors.push_back({tensor.name + kSecondMoment, tensor.second_moment});
  }
  return tensors;
}

void check_settings(const std::map<std::string, std::string>& expected, const Json& stored,
                    const std::string& source) {
  for (const auto& [name, value] : expected) {
    const auto found = stored.find(name);
    const std::string before =
        found != stored.end() && found->is_string() ? found->get<std::string>() : "nothing";
    if (before == value) continue;
    throw std::runtime_error(fmt::format(
        "{}: training was begun with {} = {}, not {}: resume with the same settings, or begin anew "
        "without --resume",
        source, name, quote(before), quote(value)));
  }
}

}  // namespace

TrainedTensor trained_tensor(std::string name, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  return {.name = std::move(name),
          .value = value,
          .first_moment = at::zeros_like(value),
          .second_moment = at::zeros_like(value)};
}

void save_training_state(const TrainingState& state, const std::filesystem::path& folder) {
  WholeFolder whole(folder, {kTensorsFile, kStateFile});
  const std::vector<StoredTensor> tensors = stored_tensors(state);
  std::vector<SafetensorsInput> inputs;
  std::vector<at::Tensor> host;  // what `inputs` look at
  for (const StoredTensor& tensor : tensors) {
    TORCH_CHECK(tensor.value.is_contiguous() && tensor.value.scalar_type() == at::kFloat,
                "training state: ", tensor.name, ": expected contiguous float32");
    host.push_back(tensor.value.cpu());
    inputs.push_back({tensor.name, "F32", tensor.value.sizes().vec(),
                      std::span(static_cast<const std::byte*>(host.back().const_data_ptr()),
                                static_cast<std::size_t>(host.back().nbytes()))});
  }
  OutputFile tensors_file(whole.path() / kTensorsFile);
  write_safetensors(tensors_file, inputs);
  tensors_file.finish();

  const nlohmann::ordered_json json = {
      {"step", state.step}, {"tokens", state.tokens}, {"settings", state.settings}};
  OutputFile state_file(whole.path() / kStateFile);
  state_file.write(json.dump(2) + "\n");
  state_file.finish();
  whole.keep();
}

void load_training_state(const std::filesystem::path& folder, TrainingState& state) {
  const std::filesystem::path file = folder / kStateFile;
  if (!std::filesystem::exists(folder)) {
    throw std::runtime_error(folder.string() +
                             ": there is no checkpoint to resume from; begin without --resume");
  }
  const Json json = read_json_file(file);
  if (!json.is_object()) throw std::runtime_error(file.string() + ": expected an object");
  const ConfigFields fields(json, file.string());
  const std::optional<std::int64_t> step = fields.integer("step");
  const std::optional<std::int64_t> tokens = fields.integer("tokens");
  if (!step || *step < 0) fields.fail("step", "expected a number of steps");
  if (!tokens || *tokens < 0) fields.fail("tokens", "expected a number of tokens");
  const std::optional<ConfigFields> settings = fields.object("settings");
  if (!settings) fields.fail("settings", "expected an object");
  check_settings(state.settings, settings->json(), file.string());

  const std::string tensors_file = (folder / kTensorsFile).string();
  const Checkpoint checkpoint = Checkpoint::open_file(tensors_file);
  const std::vector<StoredTensor> tensors = stored_tensors(state);
  for (const StoredTensor& tensor : tensors) {
    if (!checkpoint.contains(tensor.name) ||
        at::IntArrayRef(checkpoint.info(tensor.name).shape) != tensor.value.sizes()) {
      throw std::runtime_error(
          tensors_file + ": tensor " + quote(tensor.name) +
          " is missing or has another shape: the checkpoint is of another training");
    }
  }
  const at::NoGradGuard no_grad;
  for (const StoredTensor& tensor : tensors) checkpoint.load_into(tensor.name, tensor.value);
  state.step = *step;
  state.tokens = *tokens;
}

}  // namespace seer
