#include "support/attention_case.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <ostream>
#include <random>
#include <stdexcept>
#include <thread>

#include "base/ceil_div.h"
#include "kernels/block_sparse_attention/cpu.h"
#include "kernels/block_sparse_attention/reference.h"

namespace seer::test {
namespace {

constexpr double kRandomDensity = 0.3;
constexpr std::int64_t kMaskRowPadding = 3;  // bytes of 1 after each row: not to be read as blocks

void fill_normal(HostTensor& tensor, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  for (std::int64_t b = 0; b < tensor.batch(); ++b) {
    for (std::int64_t h = 0; h < tensor.heads(); ++h) {
      for (std::int64_t row = 0; row < tensor.length(); ++row) {
        for (std::int64_t d = 0; d < tensor.head_dim(); ++d) {
          tensor.set(b, h, row, d, normal(random));
        }
      }
    }
  }
}

// One row of the mask: which key blocks `q_block` keeps.
std::vector<bool> draw_mask_row(const AttentionCase& problem, std::int64_t q_block,
                                std::mt19937_64& random) {
  const std::int64_t num_kv_blocks = problem.num_kv_blocks();
  std::vector<bool> row(static_cast<std::size_t>(num_kv_blocks), false);
  if (num_kv_blocks == 0) return row;
  const std::int64_t last_query = std::min((q_block + 1) * problem.block_size, problem.q_len) - 1;
  const std::int64_t last_key = last_query + problem.kv_len - problem.q_len;
  const auto diagonal = static_cast<std::size_t>(
      std::clamp<std::int64_t>(last_key, 0, problem.kv_len - 1) / problem.block_size);
  switch (problem.mask) {
    case MaskFamily::kNone:
    case MaskFamily::kAllOnes: row.assign(row.size(), true); break;
    case MaskFamily::kEmpty: break;
    case MaskFamily::kDiagonal: row[diagonal] = true; break;
    case MaskFamily::kFirstAndDiagonal: row[0] = row[diagonal] = true; break;
    case MaskFamily::kSingleBlock: row[random() % row.size()] = true; break;
    case MaskFamily::kRandom:
    case MaskFamily::kEmptyRows: {
      std::bernoulli_distribution kept(kRandomDensity);
      for (std::size_t block = 0; block < row.size(); ++block) row[block] = kept(random);
      if (problem.mask == MaskFamily::kEmptyRows && q_block % 2 == 1) row.assign(row.size(), false);
      break;
    }
  }
  return row;
}

HostTensor widened(const HostTensor& tensor) {
  HostTensor wide(tensor.batch(), tensor.heads(), tensor.length(), tensor.head_dim(),
                  Element::kFloat64, Layout::kContiguous, HostTensor::Role::kInput);
  for (std::int64_t b = 0; b < tensor.batch(); ++b) {
    for (std::int64_t h = 0; h < tensor.heads(); ++h) {
      for (std::int64_t row = 0; row < tensor.length(); ++row) {
        for (std::int64_t d = 0; d < tensor.head_dim(); ++d) {
          wide.set(b, h, row, d, tensor.at(b, h, row, d));
        }
      }
    }
  }
  return wide;
}

// The outputs of one run, watched on all sides.
class Outputs {
 public:
  Outputs(const AttentionCase& problem, Element element, Layout layout)
      : out_(problem.batch, problem.num_q_heads, problem.q_len, problem.head_dim, element, layout,
             HostTensor::Role::kOutput),
        lse_(float_bytes(problem.batch * problem.num_q_heads * problem.q_len), misalignment(layout),
             GuardedMemory::Guards::kBothSides, std::byte{0x5A}),
        block_map_(
            float_bytes(problem.block_map ? problem.batch * problem.num_q_heads *
                                                problem.num_q_blocks() * problem.num_kv_blocks()
                                          : 0),
            misalignment(layout), GuardedMemory::Guards::kBothSides, std::byte{0x5A}),
        wants_map_(problem.block_map) {}

  void connect(AttentionParams& params) {
    params.out = out_.data();
    params.out_strides = out_.strides();
    params.lse = reinterpret_cast<float*>(lse_.data());
    if (wants_map_) params.block_map = reinterpret_cast<float*>(block_map_.data());
  }

  AttentionResult result() const {
    AttentionResult result{out_.values(), floats(lse_), floats(block_map_), {}};
    if (!out_.surroundings_intact()) result.damage.emplace_back("around out");
    if (!lse_.guards_intact()) result.damage.emplace_back("around lse");
    if (!block_map_.guards_intact()) result.damage.emplace_back("around block_map");
    return result;
  }

 private:
  static std::size_t float_bytes(std::int64_t count) {
    return static_cast<std::size_t>(count) * sizeof(float);
  }
  static std::size_t misalignment(Layout layout) {
    return layout == Layout::kOddAddress ? sizeof(float) : 0;
  }
  static std::vector<float> floats(const GuardedMemory& memory) {
    std::vector<float> values(memory.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), memory.data(), memory.size());
    return values;
  }

  HostTensor out_;
  GuardedMemory lse_, block_map_;
  bool wants_map_;
};

GuardedMemory make_scratch(const AttentionParams& params, CpuIsa isa) {
  return {attention_scratch_bytes(params, isa), 0, GuardedMemory::Guards::kBothSides,
          std::byte{0xFF}};
}

// Whatever an earlier tile left in the scratch must not matter: here it is NaN.
void run_tile(const AttentionParams& params, CpuIsa isa, std::int64_t tile,
              GuardedMemory& scratch) {
  std::fill_n(scratch.data(), scratch.size(), std::byte{0xFF});
  attention_tile(params, isa, tile, scratch.data());
}

// The index of the first value that is out of bounds, or -1.
template <typename Excess>
std::int64_t first_excess(std::size_t count, Excess excess) {
  for (std::size_t index = 0; index < count; ++index) {
    if (excess(index)) return static_cast<std::int64_t>(index);
  }
  return -1;
}

void expect_out_close(const AttentionCase& problem, const std::vector<double>& actual,
                      const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  const auto not_finite =
      first_excess(actual.size(), [&](std::size_t i) { return !std::isfinite(actual[i]); });
  ASSERT_EQ(not_finite, -1) << "out is not finite there (flat index)";
  double difference = 0, reference = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    reference += expected[i] * expected[i];
  }
  const double tolerance = problem.tolerance().out;
  EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(reference))
      << "out: 2-norm of the difference " << std::sqrt(difference) << ", of the reference "
      << std::sqrt(reference) << ", tolerated ratio " << tolerance;

  // A single wrong row must not drown among many right ones.
  const auto width = static_cast<std::size_t>(problem.head_dim);
  const double typical =
      std::sqrt(reference / static_cast<double>(std::max<std::size_t>(
                                1, actual.size() / std::max<std::size_t>(1, width))));
  for (std::size_t row = 0; width > 0 && row < actual.size() / width; ++row) {
    double row_difference = 0, row_reference = 0;
    for (std::size_t i = row * width; i < (row + 1) * width; ++i) {
      row_difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
      row_reference += expected[i] * expected[i];
    }
    const double limit = 4 * tolerance * std::max(std::sqrt(row_reference), typical);
    ASSERT_LE(std::sqrt(row_difference), limit) << "out: flat row " << row;
    if (row_reference == 0) {
      ASSERT_EQ(row_difference, 0) << "out: flat row " << row << " sees no key and must be 0";
    }
  }
}

void expect_lse_close(const AttentionCase& problem, const std::vector<float>& actual,
                      const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  const double tolerance = problem.tolerance().lse;
  const auto index = first_excess(actual.size(), [&](std::size_t i) {
    if (std::isinf(expected[i])) return actual[i] != expected[i];
    return !(std::abs(static_cast<double>(actual[i]) - expected[i]) <= tolerance);
  });
  if (index >= 0) {
    const auto i = static_cast<std::size_t>(index);
    ADD_FAILURE() << "lse: flat index " << index << " is " << actual[i] << ", expected "
                  << expected[i] << " within " << tolerance;
  }
}

void expect_block_map_close(const AttentionCase& problem, const AttentionInputs& inputs,
                            const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  if (!problem.block_map) return;
  const double tolerance = problem.tolerance().block_map;
  std::size_t i = 0;
  for (std::int64_t b = 0; b < problem.batch; ++b) {
    for (std::int64_t h = 0; h < problem.num_q_heads; ++h) {
      for (std::int64_t q_block = 0; q_block < problem.num_q_blocks(); ++q_block) {
        for (std::int64_t kv_block = 0; kv_block < problem.num_kv_blocks(); ++kv_block, ++i) {
          const bool visible =
              inputs.keeps(b, h, q_block, kv_block) && problem.block_is_visible(q_block, kv_block);
          const double limit = visible ? tolerance * expected[i] + kBlockMapFloor : 0.0;
          ASSERT_LE(std::abs(static_cast<double>(actual[i]) - expected[i]), limit)
              << "block_map[" << b << ", " << h << ", " << q_block << ", " << kv_block << "] is "
              << actual[i] << ", expected " << expected[i]
              << (visible ? "" : " (nothing is visible there)");
        }
      }
    }
  }
}

template <typename Value>
bool same_bytes(const std::vector<Value>& left, const std::vector<Value>& right) {
  return left.size() == right.size() &&
         (left.empty() || std::memcmp(left.data(), right.data(), left.size() * sizeof(Value)) == 0);
}

}  // namespace

std::int64_t AttentionCase::num_q_blocks() const {
  return ceil_div(q_len, block_size);
}
std::int64_t AttentionCase::num_kv_blocks() const {
  return ceil_div(kv_len, block_size);
}

double AttentionCase::scale() const {
  return logit_scale / std::sqrt(static_cast<double>(head_dim));
}

Tolerance AttentionCase::tolerance() const {
  // Scores are sums in float32: their error, and with it that of lse and of every probability,
  // grows with their size, which is about logit_scale on normal data.
  const double growth = std::max(1.0, std::abs(logit_scale));
  const double map = coarseness_of_map * growth;
  if (element == Element::kBFloat16) {
    // Probabilities are rounded to 8 bits before they meet v, and out is rounded to 8 bits.
    return {6e-3 + 3e-6 * growth, 2e-5 * growth, 2e-5 * growth + map};
  }
  // Of float16, to 11 bits.
  if (element == Element::kFloat16) {
    return {8e-4 + 3e-6 * growth, 2e-5 * growth, 2e-5 * growth + map};
  }
  return {3e-6 * growth, 1e-5 * growth, 1e-5 * growth + map};
}

bool AttentionCase::block_is_visible(std::int64_t q_block, std::int64_t kv_block) const {
  if (!is_causal) return true;
  const std::int64_t last_query = std::min((q_block + 1) * block_size, q_len) - 1;
  return kv_block * block_size <= last_query + kv_len - q_len;
}

std::ostream& operator<<(std::ostream& stream, const AttentionCase& problem) {
  static constexpr const char* kMasks[] = {"none",         "all_ones",          "empty",
                                           "diagonal",     "empty_rows",        "random",
                                           "single_block", "first_and_diagonal"};
  static constexpr const char* kSharings[] = {"per_query_head", "per_kv_head", "all_heads",
                                              "all_batches", "everything"};
  static constexpr const char* kLayouts[] = {"contiguous", "length_major", "padded_rows",
                                             "odd_address", "aligned_rows"};
  return stream << problem.name << ": " << element_name(problem.element) << " batch "
                << problem.batch << " heads " << problem.num_q_heads << ":" << problem.num_kv_heads
                << " q_len " << problem.q_len << " kv_len " << problem.kv_len << " head_dim "
                << problem.head_dim << " block_size " << problem.block_size << " causal "
                << problem.is_causal << " logit_scale " << problem.logit_scale << " mask "
                << kMasks[static_cast<int>(problem.mask)] << "/"
                << kSharings[static_cast<int>(problem.sharing)] << " block_map "
                << problem.block_map << " layout " << kLayouts[static_cast<int>(problem.layout)]
                << " seed " << problem.seed;
}

AttentionInputs::AttentionInputs(const AttentionCase& problem)
    : q(problem.batch, problem.num_q_heads, problem.q_len, problem.head_dim, problem.element,
        problem.layout, HostTensor::Role::kInput),
      k(problem.batch, problem.num_kv_heads, problem.kv_len, problem.head_dim, problem.element,
        problem.layout, HostTensor::Role::kInput),
      v(problem.batch, problem.num_kv_heads, problem.kv_len, problem.head_dim, problem.element,
        problem.layout, HostTensor::Role::kInput),
      has_mask_(problem.mask != MaskFamily::kNone) {
  std::mt19937_64 random(problem.seed);
  fill_normal(q, random);
  fill_normal(k, random);
  fill_normal(v, random);

  const MaskSharing sharing = problem.sharing;
  const bool one_batch = sharing == MaskSharing::kAllBatches || sharing == MaskSharing::kEverything;
  const bool one_head = sharing == MaskSharing::kAllHeads || sharing == MaskSharing::kEverything;
  const std::int64_t ratio = problem.num_q_heads / problem.num_kv_heads;
  const std::int64_t heads = one_head                             ? 1
                             : sharing == MaskSharing::kPerKvHead ? problem.num_kv_heads
                                                                  : problem.num_q_heads;
  const std::int64_t row = problem.num_kv_blocks() + kMaskRowPadding;
  const std::int64_t head = problem.num_q_blocks() * row;
  mask_strides_ = {one_batch ? 0 : heads * head, one_head ? 0 : head, row};
  // A mask that all heads share may come either way: by a stride of 0 or as one group.
  mask_heads_per_group_ = sharing == MaskSharing::kPerKvHead    ? ratio
                          : sharing == MaskSharing::kEverything ? problem.num_q_heads
                                                                : 1;
  const std::int64_t rows = (one_batch ? 1 : problem.batch) * heads * problem.num_q_blocks();
  for (std::int64_t index = 0; index < rows; ++index) {
    for (bool kept : draw_mask_row(problem, index % problem.num_q_blocks(), random)) {
      mask_.push_back(kept ? 1 : 0);
    }
    mask_.insert(mask_.end(), kMaskRowPadding, 1);
  }
}

AttentionParams AttentionInputs::params(const AttentionCase& problem) const {
  AttentionParams params;
  params.q = q.data();
  params.k = k.data();
  params.v = v.data();
  params.q_strides = q.strides();
  params.k_strides = k.strides();
  params.v_strides = v.strides();
  params.element = problem.element;
  params.batch = problem.batch;
  params.num_q_heads = problem.num_q_heads;
  params.num_kv_heads = problem.num_kv_heads;
  params.q_len = problem.q_len;
  params.kv_len = problem.kv_len;
  params.head_dim = problem.head_dim;
  params.block_size = problem.block_size;
  params.is_causal = problem.is_causal;
  params.scale = problem.scale();
  if (has_mask_) {
    params.block_mask = mask_.data();
    params.mask_strides = mask_strides_;
    params.mask_heads_per_group = mask_heads_per_group_;
  }
  return params;
}

std::size_t AttentionInputs::mask_index(std::int64_t batch, std::int64_t q_head,
                                        std::int64_t q_block, std::int64_t kv_block) const {
  return static_cast<std::size_t>(batch * mask_strides_.batch +
                                  q_head / mask_heads_per_group_ * mask_strides_.head +
                                  q_block * mask_strides_.row + kv_block);
}

bool AttentionInputs::keeps(std::int64_t batch, std::int64_t q_head, std::int64_t q_block,
                            std::int64_t kv_block) const {
  return !has_mask_ || mask_[mask_index(batch, q_head, q_block, kv_block)] != 0;
}

void AttentionInputs::set_kept(std::int64_t batch, std::int64_t q_head, std::int64_t q_block,
                               std::int64_t kv_block, bool kept) {
  if (!has_mask_) throw std::logic_error("the case has no mask");
  mask_[mask_index(batch, q_head, q_block, kv_block)] = kept ? 1 : 0;
}

bool AttentionResult::same_bits(const AttentionResult& other) const {
  return same_bytes(out, other.out) && same_bytes(lse, other.lse) &&
         same_bytes(block_map, other.block_map);
}

AttentionResult run_kernel(const AttentionCase& problem, const AttentionInputs& inputs, CpuIsa isa,
                           int threads) {
  AttentionParams params = inputs.params(problem);
  Outputs outputs(problem, problem.element, problem.layout);
  outputs.connect(params);
  const std::int64_t num_tiles = attention_num_tiles(params, isa);
  std::atomic<bool> scratch_intact = true;
  if (threads == 0) {
    GuardedMemory scratch = make_scratch(params, isa);
    for (std::int64_t tile = 0; tile < num_tiles; ++tile) run_tile(params, isa, tile, scratch);
    scratch_intact = scratch.guards_intact();
  } else {
    std::atomic<std::int64_t> next = 0;
    std::vector<std::thread> workers;
    for (int worker = 0; worker < threads; ++worker) {
      workers.emplace_back([&] {
        GuardedMemory scratch = make_scratch(params, isa);
        for (std::int64_t tile = next++; tile < num_tiles; tile = next++) {
          run_tile(params, isa, tile, scratch);
        }
        if (!scratch.guards_intact()) scratch_intact = false;
      });
    }
    for (std::thread& worker : workers) worker.join();
  }
  AttentionResult result = outputs.result();
  if (!scratch_intact) result.damage.emplace_back("around scratch");
  return result;
}

AttentionResult run_reference(const AttentionCase& problem, const AttentionInputs& inputs,
                              int threads) {
  const HostTensor q = widened(inputs.q), k = widened(inputs.k), v = widened(inputs.v);
  AttentionParams params = inputs.params(problem);
  params.element = Element::kFloat64;
  params.q = q.data();
  params.k = k.data();
  params.v = v.data();
  params.q_strides = q.strides();
  params.k_strides = k.strides();
  params.v_strides = v.strides();
  Outputs outputs(problem, Element::kFloat64, Layout::kContiguous);
  outputs.connect(params);
  const std::int64_t tiles = problem.batch * problem.num_q_heads * problem.num_q_blocks();
  const std::int64_t share = ceil_div(tiles, std::int64_t{std::max(1, threads)});
  std::vector<std::thread> workers;
  for (std::int64_t tile = share; tile < tiles; tile += share) {
    workers.emplace_back(
        [&, tile] { attention_reference(params, tile, std::min(tile + share, tiles)); });
  }
  attention_reference(params, 0, std::min(share, tiles));
  for (std::thread& worker : workers) worker.join();
  return outputs.result();
}

void expect_close(const AttentionCase& problem, const AttentionInputs& inputs,
                  const AttentionResult& actual, const AttentionResult& expected) {
  for (const std::string& place : actual.damage) ADD_FAILURE() << "memory was written " << place;
  for (const std::string& place : expected.damage) {
    ADD_FAILURE() << "the reference wrote " << place;
  }
  expect_lse_close(problem, actual.lse, expected.lse);
  expect_out_close(problem, actual.out, expected.out);
  expect_block_map_close(problem, inputs, actual.block_map, expected.block_map);
}

const std::vector<CpuIsa>& all_cpu_isas() {
  static const std::vector<CpuIsa> isas = {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512,
                                           CpuIsa::kAvx512Bf16};
  return isas;
}

}  // namespace seer::test
