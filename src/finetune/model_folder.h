// Writes a trained model as a folder in Hugging Face layout.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "finetune/flat_weights.h"
#include "seer/config.h"
#include "seer/finetune.h"
#include "seer/gate.h"

namespace seer {

// config.json of a model after training: all fields as they are, but the dtype, and where the positions were scaled
// max_position_embeddings and rope_scaling (in a file with rope_parameters, these). Text of the source, and of the result.
std::string trained_config_json(const std::string& source_json, const std::string& source,
                                const ModelConfig& model, const std::optional<RopeScaling>& scaling,
                                at::ScalarType dtype);

// As Finetuner::write_model(). `gates` may be null.
void write_model_folder(const std::filesystem::path& source, const ModelConfig& model,
                        const std::optional<RopeScaling>& scaling,
                        const std::vector<FlatWeights::Named>& tensors, at::ScalarType dtype,
                        const GateSet* gates, const std::filesystem::path& out);

}  // namespace seer
