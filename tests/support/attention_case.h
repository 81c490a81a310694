// One attention problem with random data, run by the fast kernel and by the reference.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu_isa.h"
#include "kernels/block_sparse_attention/params.h"
#include "support/host_tensor.h"

namespace seer::test {

enum class MaskFamily {
  kNone,  // a null pointer: dense
  kAllOnes,
  kEmpty,
  kDiagonal,     // the block of the last key that the last query of the row sees
  kEmptyRows,    // random, and every second query block keeps nothing
  kRandom,       // keeps 0.3 of the blocks
  kSingleBlock,  // one random block a row
  kFirstAndDiagonal,
};

enum class MaskSharing { kPerQueryHead, kPerKvHead, kAllHeads, kAllBatches, kEverything };

// What the fast kernel may differ from the reference by.
struct Tolerance {
  double out;        // 2-norm of the difference over 2-norm of the reference
  double lse;        // absolute
  double block_map;  // relative, above kBlockMapFloor
};

constexpr double kBlockMapFloor = 1e-12;  // probabilities below it are as good as 0

struct AttentionCase {
  std::string name;
  Element element = Element::kFloat32;
  std::int64_t batch = 1;
  std::int64_t num_q_heads = 2;
  std::int64_t num_kv_heads = 1;
  std::int64_t q_len = 128;
  std::int64_t kv_len = 128;
  std::int64_t head_dim = 64;
  std::int64_t block_size = 64;
  bool is_causal = true;
  double logit_scale = 1.0;  // params.scale is this over sqrt(head_dim)
  MaskFamily mask = MaskFamily::kNone;
  MaskSharing sharing = MaskSharing::kPerQueryHead;
  bool block_map = false;
  Layout layout = Layout::kContiguous;
  std::uint64_t seed = 1;
  double coarseness_of_map =
      0.0;  // what the block map's relative tolerance is on top, at logit_scale 1

  std::int64_t num_q_blocks() const;
  std::int64_t num_kv_blocks() const;
  double scale() const;
  Tolerance tolerance() const;
  // Whether some query of the block sees some key of the block, the mask left aside.
  bool block_is_visible(std::int64_t q_block, std::int64_t kv_block) const;
};

std::ostream& operator<<(std::ostream& stream, const AttentionCase& problem);

// The tensors of a case; a copy may be altered and run again.
class AttentionInputs {
 public:
  explicit AttentionInputs(const AttentionCase& problem);

  AttentionParams params(const AttentionCase& problem) const;  // without outputs
  bool keeps(std::int64_t batch, std::int64_t q_head, std::int64_t q_block,
             std::int64_t kv_block) const;
  void set_kept(std::int64_t batch, std::int64_t q_head, std::int64_t q_block,
                std::int64_t kv_block, bool kept);

  // The mask's bytes, what lies between its rows too; empty where there is none.
  const std::vector<std::uint8_t>& mask_bytes() const { return mask_; }

  HostTensor q, k, v;

 private:
  std::size_t mask_index(std::int64_t batch, std::int64_t q_head, std::int64_t q_block,
                         std::int64_t kv_block) const;

  bool has_mask_;
  Strides mask_strides_;
  std::int64_t mask_heads_per_group_;
  std::vector<std::uint8_t> mask_;
};

struct AttentionResult {
  std::vector<double> out;          // [batch, num_q_heads, q_len, head_dim], as stored
  std::vector<float> lse;           // [batch, num_q_heads, q_len]
  std::vector<float> block_map;     // [batch, num_q_heads, q blocks, kv blocks], or empty
  std::vector<std::string> damage;  // what was written where nothing may be written

  bool same_bits(const AttentionResult& other) const;
};

// Runs the tiles one after the other (threads = 0) or by threads that draw tiles from a counter.
AttentionResult run_kernel(const AttentionCase& problem, const AttentionInputs& inputs, CpuIsa isa,
                           int threads = 0);

// On float64 copies of the inputs, which are exact: the result has no rounding of the element type.
AttentionResult run_reference(const AttentionCase& problem, const AttentionInputs& inputs,
                              int threads = 1);

// Fails the running test where the two differ by more than the case tolerates.
void expect_close(const AttentionCase& problem, const AttentionInputs& inputs,
                  const AttentionResult& actual, const AttentionResult& expected);

// Whether the query block keeps the key block and sees some of it.
bool reads_block(const AttentionCase& problem, const AttentionInputs& inputs, std::int64_t batch,
                 std::int64_t q_head, std::int64_t q_block, std::int64_t kv_block);

// Overwrites the tokens of one key block in all heads.
void poison_block(const AttentionCase& problem, HostTensor& tensor, std::int64_t kv_block,
                  double value);

// Fails the running test where results of rows that do not read `kv_block` differ by a bit.
void expect_unaffected(const AttentionCase& problem, const AttentionInputs& inputs,
                       std::int64_t kv_block, const AttentionResult& clean,
                       const AttentionResult& dirty);

// The instruction sets that a test goes through, supported here or not.
const std::vector<CpuIsa>& all_cpu_isas();

}  // namespace seer::test
