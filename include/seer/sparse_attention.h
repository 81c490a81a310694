// Sparse prefill: attention over the key blocks that a policy chooses.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "seer/attention.h"
#include "seer/config.h"
#include "seer/gate.h"

namespace seer {

struct SparseAttentionOptions {
  std::int64_t block_size =
      64;  // tokens: 16, 32, 64 or 128. With gates: theirs, and this is not looked at
  std::int64_t min_context = 1024;  // prompts of fewer tokens are dense
  std::uint64_t seed = 0;           // of the policy `random`
  // Called with each choice before it is used, for measurements. block_mask: bool [1, num_q_heads or 1, query blocks,
  // key blocks]; undefined where the layer is dense. May be empty.
  std::function<void(const AttentionCall& call, const at::Tensor& block_mask)> on_mask = nullptr;
};

// Blocks that were computed, of those that a causal map has.
struct BlockCount {
  std::int64_t kept = 0;
  std::int64_t visible = 0;
  // 1 where there was nothing to keep.
  double density() const {
    return visible == 0 ? 1.0 : static_cast<double>(kept) / static_cast<double>(visible);
  }
};

// Policies (text):
//   dense
//   gate:<rule>       the gates' predicted map
//   oracle:<rule>     the true map, which costs dense attention: what a gate could reach
//   meanpool:<rule>   mean of a block's queries times mean of a block's keys, before RoPE, turned by the blocks'
//                     positions: an untrained gate Qavg_Kavg
//   streaming:<rule>  the first block and the last ones
//   random:<rule>     uniformly random scores
// methods without training, each in the file of its name under src/selection, with its paper:
//   quest:<rule>        the largest bound of the row's queries by the extremes of a block's keys
//   xattention:<rule>   sums along antidiagonals; stride=S: tokens between them, a divisor of the block size (16)
//   minference:<rule>   the columns and diagonals that the prompt's last queries look at; last=N: so many queries (64)
//   flexprefill:<rule>  by head: means of blocks, or columns and diagonals; tau=T: the largest divergence from the truth for
//                       which means are taken (0.1); min_budget=N: tokens in columns, and as many in diagonals, that every
//                       head keeps under mass (1024)
// with one rule of
//   ratio=R      max(1, int((1 - sqrt(1 - R)) * key blocks of the prompt)) blocks in each row
//   budget=N     max(1, N / block_size) blocks in each row, N in tokens
//   mass=M       the fewest blocks whose predicted probabilities sum to M (gate, oracle, meanpool, xattention); flexprefill:
//                M of the map, of the columns and of the diagonals of a head
//   threshold=T  the blocks with a predicted probability above T (gate, oracle, meanpool, xattention)
//   density=D    gate: the threshold of the adapter's calibration table for this prompt's length; oracle, meanpool, quest and
//                xattention: the threshold that keeps D of the visible blocks of each layer of the chunk at hand; streaming
//                and random: as ratio=D; minference and flexprefill: D of the visible blocks of each head. The first and the
//                last visible block of a row are always kept; but for streaming and random they count in D
// and any of sink=N, local=N (first and last blocks of each row, kept besides), dense_rows=N (last query block rows of
// the prompt, dense), start_layer=N (layers before it are dense).
//
// minference and flexprefill choose for a head as a whole: it keeps as many blocks as ratio and budget keep in its rows
// together, the first and the last visible block of each row among them, and not the same number in each row.
//
// Prompts come in chunks of any length; chunks of whole blocks choose as the prompt at once would. Those two need the prompt
// in one call (wants_whole_prompt()). Decoded tokens attend densely.
class SparseAttention final : public Attention {
 public:
  // `gates` must outlive the object and may be null for policies that need none. Throws std::invalid_argument that names
  // policy, key, value and what is accepted, or that gates or a calibration are missing.
  SparseAttention(const ModelConfig& model, std::string_view policy, const GateSet* gates,
                  SparseAttentionOptions options = {});
  ~SparseAttention() override;

  void begin(std::int64_t past, std::int64_t length) override;
  std::int64_t past_multiple() const override;
  // Of minference and flexprefill. attend() and choose() throw std::invalid_argument where a prompt comes in parts.
  bool wants_whole_prompt() const override;
  AttentionPooling pooling(std::int64_t layer, std::int64_t past) const override;
  at::Tensor attend(const AttentionCall& call) override;
  // What attend() would compute, without computing it: the block mask, bool [1, num_q_heads or 1, query blocks, key
  // blocks]; undefined where it is dense. In place of attend(), not besides it: both take the keys in.
  at::Tensor choose(const AttentionCall& call);
  // Tokens of a mask's block.
  std::int64_t block_size() const;

  // The policy's canonical text.
  std::string policy() const;
  // Whether the prompt announced by begin() is dense in all layers because it is shorter than min_context.
  bool is_too_short() const;
  // Of each layer, prompts since construction or reset_counts(); decoded tokens do not count. On a GPU the counts are kept
  // there, and asking for them waits for it.
  const std::vector<BlockCount>& counts() const;
  // Of all layers together.
  BlockCount total_count() const;
  void reset_counts();
  // Seconds spent on scores and selection, and in attention, of prompts; since reset_counts(). On a GPU those that the CPU
  // took to queue the work, as nothing waits for it.
  double selection_seconds() const;
  double attention_seconds() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
