// What a distillation would do and take, before anything is loaded.
#pragma once

#include <c10/core/TensorOptions.h>

#include <string>

#include "seer/distill.h"

namespace seer {

// All settings as one object of JSON.
std::string settings_json(const DistillOptions& options);

// For people: the settings, steps and tokens, and estimates of memory and time. The time is that of the products alone
// at the speed that a short measurement of this machine gives. `tensors`: dtype and device of the model.
std::string distill_plan_text(const ModelConfig& model, const GateSet& gates,
                              const DistillOptions& options, const at::TensorOptions& tensors);

}  // namespace seer
