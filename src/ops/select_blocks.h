// Between the contract of select_blocks and its devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "base/selection_policy.h"
#include "kernels/select_blocks/params.h"

namespace seer {

struct PreparedSelectBlocks {
  SelectBlocksParams params;
  at::Tensor mask;  // allocated, not filled
};

// Checks the arguments once for all devices and allocates the result beside scores.
PreparedSelectBlocks prepare_select_blocks(const at::Tensor& scores, std::string_view policy,
                                           std::int64_t q_len, std::int64_t kv_len,
                                           std::int64_t block_size);

// Of the whole grammar of policies, what can be decided from one layer's gate scores alone. `op` is named in messages.
SelectionPolicy parse_block_policy(const char* op, std::string_view policy);

// The policy's rule and keys, for params whose block_size and num_kv_blocks are set.
void set_selection(const SelectionPolicy& policy, SelectBlocksParams& params);

// Throws the error that says where the bad score stands and what to pass instead.
[[noreturn]] void refuse_bad_score(const SelectBlocksParams& params, const BadScore& bad);

}  // namespace seer
