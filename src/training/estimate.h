// What training takes, estimated before anything is loaded.
#pragma once

#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <string>

#include "seer/config.h"

namespace seer {

// Of a forward pass over a sequence with dense attention, multiply-adds counted twice: of the products with weights
// (without the embedding and the output matrix), and of attention.
struct PassOperations {
  double products = 0, attention = 0;
  double all() const { return products + attention; }
};
PassOperations operations_of_a_pass(const ModelConfig& model, std::int64_t length);

// Operations a second of a matrix product of this dtype on this device, measured.
double measured_speed(const at::TensorOptions& tensors);

std::string gigabytes_text(double bytes);   // "1.25 GB"
std::string duration_text(double seconds);  // "12 minutes", "3.5 hours"

}  // namespace seer
