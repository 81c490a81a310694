// A gate design of one's own, in one file. Link it into the program: the registration at the end makes its name known to
// every adapter and verb.
//
// A block is represented by its last tokens instead of by an average of all: queries by the last `tail` of the block, keys
// likewise, each mapped by one matrix per head. Their number is the design's own option.
#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "seer/gate.h"

namespace {

class LastTokenGate : public seer::Gate {
 public:
  LastTokenGate(const seer::GateConfig& config, const seer::ModelConfig& model)
      // One representative per block on each side.
      : Gate(config, model, config.block_size, config.block_size),
        tail_(static_cast<std::int64_t>(config.number_option("tail", 4))),
        q_map_(add_parameter("last_token_q.weight", {num_q_heads(), head_dim(), config.width})),
        k_map_(add_parameter("last_token_k.weight", {num_kv_heads(), head_dim(), config.width})) {
    if (tail_ < 1 || tail_ > config.block_size)
      throw std::invalid_argument("options.tail: expected 1 to block_size");
  }

  at::Tensor query_representatives(const at::Tensor& q,
                                   std::int64_t first_position) const override {
    return turned(at::matmul(tails(q), q_map_), first_position);
  }

  // [b, kv heads, blocks, width]: the base class's block_logits repeats them over each group of query heads.
  at::Tensor key_representatives(const at::Tensor& k, std::int64_t first_position) const override {
    return turned(at::matmul(tails(k), k_map_), first_position);
  }

 private:
  // [b, heads, blocks, head_dim]: the mean of the last tokens of each block. The model is frozen, so that no gradient
  // flows into x.
  at::Tensor tails(const at::Tensor& x) const {
    const std::int64_t block = config().block_size;
    std::vector<at::Tensor> means;
    for (std::int64_t first = 0; first < x.size(2); first += block) {
      const std::int64_t end = std::min(first + block, x.size(2));
      const std::int64_t begin = std::max(first, end - tail_);
      means.push_back(x.detach().narrow(2, begin, end - begin).to(at::kFloat).mean(2));
    }
    if (means.empty()) return x.detach().to(at::kFloat);
    return at::stack(means, 2);
  }

  at::Tensor turned(const at::Tensor& reps, std::int64_t first_position) const {
    return seer::turn_representatives(reps, model().rope, first_position, config().block_size);
  }

  std::int64_t tail_;
  at::Tensor q_map_, k_map_;
};

const seer::GateRegistration kRegistration("last-token", [](const seer::GateConfig& config,
                                                            const seer::ModelConfig& model) {
  return std::make_unique<LastTokenGate>(config, model);
});

}  // namespace
