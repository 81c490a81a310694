#include "kernels/gate_scores/cuda.h"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "base/ceil_div.h"
#include "kernels/gate_scores/sm90/launch.h"
#include "kernels/hopper/tensor_map.cuh"

namespace seer {
namespace {

using sm90::GateScoresPlan;
using sm90::ScoresOutput;

constexpr int kKeyBlocksAtOnce = 64;

// `rows` query blocks of up to `ranks` representatives.
struct Tile {
  int rows, ranks;
};

// Tiles of 256 columns make the most of a multiprocessor. A short prompt has too few of them for all multiprocessors.
constexpr std::array kTiles = {Tile{64, 1}, Tile{64, 4}, Tile{16, 4}, Tile{16, 16}};

std::int64_t tiles_of(const GateScoresParams& params, const Tile& tile) {
  return params.batch * params.heads * ceil_div(params.num_q_blocks(), std::int64_t{tile.rows});
}

// Of the tiles with the fewest ranks that are enough: the first that there are two a multiprocessor of, or the last. Null
// where there is none.
const Tile* find_tile(const GateScoresParams& params, int num_multiprocessors) {
  const Tile* found = nullptr;
  for (const Tile& tile : kTiles) {
    if (tile.ranks < params.block_size / params.q_tokens) continue;
    if (found != nullptr && (found->ranks != tile.ranks ||
                             tiles_of(params, *found) >= 2 * std::int64_t{num_multiprocessors}))
      break;
    found = &tile;
  }
  return found;
}

const Tile& tile_for(const GateScoresParams& params, int num_multiprocessors) {
  if (has_gate_scores_cuda(params)) return *find_tile(params, num_multiprocessors);
  throw std::runtime_error(
      std::string("gate_scores: ") + element_name(params.element) + ", width " +
      std::to_string(params.width) + ", query representatives of " +
      std::to_string(params.q_tokens) + " tokens of blocks of " +
      std::to_string(params.block_size) +
      ": no kernel (supported: bfloat16, width 64 or 128, at most 16 representatives a block)");
}

int as_int(std::int64_t count) {
  return static_cast<int>(std::clamp<std::int64_t>(count, 0, 0x7fffffff));
}

GateScoresPlan plan_of(const GateScoresParams& params, const Tile& tile, int num_multiprocessors) {
  GateScoresPlan plan = {};
  plan.q_reps = params.q_reps;
  plan.q_batch_stride = params.q_strides.batch;
  plan.q_head_stride = params.q_strides.head;
  plan.q_row_stride = params.q_strides.row;
  plan.q_per_block = as_int(params.block_size / params.q_tokens);
  plan.last_q_rep = as_int(ceil_div(params.q_len, params.q_tokens) - 1);
  plan.key_ranks = as_int(params.block_size / params.k_tokens);
  plan.key_rank_rows = as_int(params.num_kv_blocks());
  plan.heads = as_int(params.heads);
  plan.heads_per_key_head = as_int(params.heads / params.key_heads);
  plan.all_heads = as_int(params.batch * params.heads);
  plan.q_blocks = as_int(params.num_q_blocks());
  plan.kv_blocks = as_int(params.num_kv_blocks());
  plan.visible_of_first =
      static_cast<int>(visible_of_first(params.q_len, params.kv_len, params.block_size));
  plan.scale = static_cast<float>(params.scale);
  plan.logits = params.logits;
  plan.logits_stride = params.num_kv_blocks();
  plan.tiles_of_head = as_int(ceil_div(params.num_q_blocks(), std::int64_t{tile.rows}));
  plan.num_tiles = as_int(tiles_of(params, tile));
  plan.num_multiprocessors = num_multiprocessors;
  return plan;
}

// Whole steps of key blocks are written.
std::int64_t workspace_stride(const GateScoresParams& params) {
  return ceil_div(params.num_kv_blocks(), std::int64_t{kKeyBlocksAtOnce}) * kKeyBlocksAtOnce;
}

template <int kRows, int kRanks>
bool launch_tile(const Tile& tile, std::int64_t width, ScoresOutput output,
                 const CUtensorMap& k_reps, const GateScoresPlan& plan, CUstream_st* stream) {
  if (tile.rows != kRows || tile.ranks != kRanks) return false;
  if (width == 64) {
    sm90::launch_gate_scores<kRows, kRanks, 64>(output, k_reps, plan, stream);
  } else {
    sm90::launch_gate_scores<kRows, kRanks, 128>(output, k_reps, plan, stream);
  }
  return true;
}

void launch(const GateScoresParams& params, const Tile& tile, ScoresOutput output,
            const GateScoresPlan& plan, CUstream_st* stream) {
  if (plan.num_tiles == 0) return;
  const std::int64_t key_rows = plan.key_ranks == 1 ? ceil_div(params.kv_len, params.k_tokens)
                                                    : plan.key_ranks * params.num_kv_blocks();
  const CUtensorMap k_reps =
      hopper::make_tensor_map(params.k_reps, params.element, params.batch, params.key_heads,
                              key_rows, params.width, params.k_strides, kKeyBlocksAtOnce);
  const bool launched = launch_tile<64, 1>(tile, params.width, output, k_reps, plan, stream) ||
                        launch_tile<64, 4>(tile, params.width, output, k_reps, plan, stream) ||
                        launch_tile<16, 4>(tile, params.width, output, k_reps, plan, stream) ||
                        launch_tile<16, 16>(tile, params.width, output, k_reps, plan, stream);
  if (!launched) throw std::logic_error("gate_scores: a tile without an instance");
}

}  // namespace

bool has_gate_scores_cuda(const GateScoresParams& params) {
  return params.element == Element::kBFloat16 && (params.width == 64 || params.width == 128) &&
         find_tile(params, 1) != nullptr;
}

void gate_scores_cuda(const GateScoresParams& params, int num_multiprocessors,
                      CUstream_st* stream) {
  const Tile& tile = tile_for(params, num_multiprocessors);
  launch(params, tile, ScoresOutput::kLogits, plan_of(params, tile, num_multiprocessors), stream);
}

std::size_t select_gate_blocks_cuda_workspace_bytes(const SelectGateBlocksParams& params,
                                                    int num_multiprocessors) {
  const Tile& tile = tile_for(params.scores, num_multiprocessors);
  return sizeof(float) * static_cast<std::size_t>(num_multiprocessors) *
         static_cast<std::size_t>(sm90::kScoresBlocksOfMultiprocessor * tile.rows) *
         static_cast<std::size_t>(workspace_stride(params.scores));
}

void select_gate_blocks_cuda(const SelectGateBlocksParams& params, void* workspace,
                             int num_multiprocessors, CUstream_st* stream) {
  const GateScoresParams& scores = params.scores;
  const SelectBlocksParams& selection = params.selection;
  const Tile& tile = tile_for(scores, num_multiprocessors);
  GateScoresPlan plan = plan_of(scores, tile, num_multiprocessors);
  plan.logits = static_cast<float*>(workspace);
  plan.logits_stride = workspace_stride(scores);
  plan.mask = selection.mask;
  plan.thresholds = params.thresholds;
  plan.top_blocks = as_int(selection.top_blocks);
  plan.threshold = static_cast<float>(selection.threshold);
  plan.mass = selection.mass;
  plan.sink = as_int(selection.sink);
  plan.local = as_int(selection.local);
  plan.first_dense_row = selection.rule == SelectionRule::kAll
                             ? 0
                             : as_int(scores.num_q_blocks() - selection.dense_rows);
  launch(scores, tile,
         selection.rule == SelectionRule::kTopBlocks ? ScoresOutput::kTopBlocks
         : selection.rule == SelectionRule::kMass    ? ScoresOutput::kMass
                                                     : ScoresOutput::kThreshold,
         plan, stream);
}

}  // namespace seer
