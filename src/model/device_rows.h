// How many rows go through the layers together, by device.
#pragma once

#include <cstdint>

#include "seer/config.h"
#include "seer/model.h"

namespace seer {

// Rows that go through an MLP together, of `rows` in all: the wide activations of a long sequence are never whole in
// memory.
std::int64_t mlp_rows(const ModelConfig& config, const ModelOptions& options, std::int64_t rows);

// Rows of a prompt of `length` tokens whose activations fit into `bytes` of a GPU's memory, beside the cache; at most
// `length`, and at least one sensible product's worth.
std::int64_t rows_that_fit(const ModelConfig& config, const ModelOptions& options,
                           std::int64_t length, std::uint64_t bytes);

}  // namespace seer
