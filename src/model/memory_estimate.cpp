#include "model/memory_estimate.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "base/machine.h"
#include "base/quote.h"
#include "model/weights.h"

namespace seer {
namespace {

// What the program takes besides a model: what it has now, and what of its libraries is touched and set up at their first
// call, in percent. With LibTorch for CPUs it begins with 118 MiB, with one for CUDA with 388, and generating takes 135 and
// about 440 besides the model.
constexpr std::int64_t kFirstCallPercent = 15;
constexpr std::int64_t kUnknownResidentBytes = std::int64_t{118}
                                               << 20;  // where the system does not say
// What the allocators keep of activations that were freed, in percent of those alive: measured, see
// bench/memory/estimate.py.
constexpr std::int64_t kKeptPercent = 40;
// Rows of activations that are alive at once, in widths of the model; see decoder.cpp and layers.cpp.
constexpr std::int64_t kMlpHidden = 3;  // the residual stream, the normed input, the output
constexpr std::int64_t kMlpWide = 3;    // gate and up in one, and the activated gate
constexpr std::int64_t kAttentionHidden = 3;
constexpr std::int64_t kAttentionQuery =
    3;  // besides the projection: turned q, the attended, its rows in order
constexpr std::int64_t kNormFloats = 3;  // RMS norm's float32 temporaries of the width

constexpr std::int64_t kMaxTokens = std::numeric_limits<std::int32_t>::max();

std::int64_t resident_bytes() {
  const std::uint64_t resident = process_memory_bytes("VmRSS:");
  return resident == 0 ? kUnknownResidentBytes : static_cast<std::int64_t>(resident);
}

std::int64_t element_bytes(const std::string& dtype) {
  return dtype == "float32" ? 4 : 2;
}

// Sizes come from files and flags: sums and products that leave 64 bits are an error, not a small number.
std::int64_t times(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    throw std::invalid_argument("context, batch: the memory estimate exceeds 64 bits");
  }
  return product;
}

std::int64_t activation_bytes(const ModelConfig& config, const RunShape& run,
                              std::int64_t element) {
  const std::int64_t q_width = config.num_q_heads * config.head_dim;
  const std::int64_t kv_width = config.num_kv_heads * config.head_dim;
  const std::int64_t mlp =
      (kMlpHidden * config.hidden_size + kMlpWide * config.intermediate_size) * element;
  const std::int64_t attention =
      (kAttentionHidden * config.hidden_size + (1 + kAttentionQuery) * q_width + 2 * kv_width) *
      element;
  const std::int64_t norm = config.hidden_size * (2 * element + kNormFloats * 4);
  const std::int64_t rope = 2 * 4 * config.head_dim;  // cos and sin
  const std::int64_t rows = times(run.batch, std::min(run.context, run.prefill_chunk));
  const std::int64_t logits =
      times(run.batch, config.vocab_size * (element == 4 ? 4 : element + 4));
  const std::int64_t alive = times(rows, std::max({mlp, attention, norm}) + rope) + logits;
  return times(alive, 100 + kKeptPercent) / 100;
}

void check_count(const char* field, std::int64_t value) {
  if (value < 1 || value > kMaxTokens) {
    throw std::invalid_argument(std::string(field) + ": expected 1 to " +
                                std::to_string(kMaxTokens) + ", got " + std::to_string(value));
  }
}

}  // namespace

ParameterCount count_parameters(const ModelConfig& config) {
  ParameterCount count;
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    std::int64_t elements = 1;
    for (const std::int64_t size : tensor.shape) elements = times(elements, size);
    count.total += elements;
    if (tensor.name == "model.embed_tokens.weight" || tensor.name == "lm_head.weight")
      count.embedding += elements;
  }
  return count;
}

void check_run_shape(const RunShape& run) {
  check_count("context", run.context);
  check_count("batch", run.batch);
  check_count("prefill chunk", run.prefill_chunk);
  if (run.dtype != "float32" && run.dtype != "bfloat16") {
    throw std::invalid_argument("dtype: expected float32 or bfloat16, got " + quote(run.dtype));
  }
}

MemoryEstimate estimate_memory(const ModelConfig& config, const RunShape& run,
                               std::int64_t gate_bytes) {
  const std::int64_t element = element_bytes(run.dtype);
  const std::int64_t cache_row = 2 * config.num_layers * config.num_kv_heads * element;
  MemoryEstimate memory;
  memory.weights = times(count_parameters(config).total, element);
  memory.gates = gate_bytes;
  memory.cache = times(times(run.batch, run.context), times(cache_row, config.head_dim));
  memory.activations = activation_bytes(config, run, element);
  memory.baseline = resident_bytes() * (100 + kFirstCallPercent) / 100;
  // So that total() cannot overflow.
  constexpr std::int64_t kFifth = std::numeric_limits<std::int64_t>::max() / 5;
  if (std::max({memory.weights, memory.gates, memory.cache, memory.activations}) > kFifth) {
    throw std::invalid_argument("context, batch: the memory estimate exceeds 64 bits");
  }
  return memory;
}

}  // namespace seer
