#include "kernels/gate_scores/cuda.h"

#include <array>
#include <stdexcept>
#include <string>

#include "base/ceil_div.h"
#include "kernels/gate_scores/sm90/launch.h"
#include "kernels/gate_scores/sm90/shape.h"

namespace seer {
namespace {

using sm90::GateScoresSchedule;
using sm90::GateScoresTile;

// Tiles of 256 columns make the most of a multiprocessor. A short prompt has too few of them for all multiprocessors.
constexpr std::array kTiles = {
    GateScoresTile{.rows = 64, .per_block = 1},  GateScoresTile{.rows = 64, .per_block = 2},
    GateScoresTile{.rows = 64, .per_block = 4},  GateScoresTile{.rows = 16, .per_block = 4},
    GateScoresTile{.rows = 32, .per_block = 8},  GateScoresTile{.rows = 16, .per_block = 16},
    GateScoresTile{.rows = 8, .per_block = 32}};

std::int64_t tiles_of(const GateScoresParams& params, const GateScoresTile& tile) {
  return params.batch * params.heads * ceil_div(params.num_q_blocks(), std::int64_t{tile.rows});
}

// The first tile of these representatives that there are enough of, or the last.
const GateScoresTile* find_tile(const GateScoresParams& params, int num_multiprocessors) {
  const GateScoresTile* found = nullptr;
  for (const GateScoresTile& tile : kTiles) {
    if (tile.per_block != params.block_size / params.q_tokens) continue;
    if (found == nullptr || tiles_of(params, *found) < 2 * num_multiprocessors) found = &tile;
  }
  return found;
}

const GateScoresTile& tile_for(const GateScoresParams& params, int num_multiprocessors) {
  const GateScoresTile* tile = find_tile(params, num_multiprocessors);
  if (!has_gate_scores_cuda(params) || tile == nullptr) {
    throw std::runtime_error(std::string("gate_scores: ") + element_name(params.element) + ", width " +
                             std::to_string(params.width) + ", representatives of " +
                             std::to_string(params.q_tokens) + " tokens of blocks of " +
                             std::to_string(params.block_size) +
                             ": no kernel (supported: bfloat16, width 64 or 128, at most 32 query "
                             "representatives a block)");
  }
  return *tile;
}

GateScoresSchedule schedule_of(const GateScoresParams& params, const GateScoresTile& tile,
                               int num_multiprocessors) {
  return {.num_tiles = static_cast<int>(tiles_of(params, tile)),
          .tiles_of_head =
              static_cast<int>(ceil_div(params.num_q_blocks(), std::int64_t{tile.rows})),
          .num_multiprocessors = num_multiprocessors};
}

// Whole steps of 64 key blocks are written.
int workspace_stride(const GateScoresParams& params) {
  return static_cast<int>(ceil_div(params.num_kv_blocks(), std::int64_t{64}) * 64);
}

template <int kRows, int kPerBlock>
bool launch_tile(const SelectGateBlocksParams& params, const GateScoresTile& tile,
                 const GateScoresSchedule& schedule, float* workspace, CUstream_st* stream) {
  if (tile.rows != kRows || tile.per_block != kPerBlock) return false;
  const int stride = workspace_stride(params.scores);
  if (params.scores.width == 64) {
    sm90::launch_gate_scores<kRows, kPerBlock, 64>(params, schedule, workspace, stride, stream);
  } else {
    sm90::launch_gate_scores<kRows, kPerBlock, 128>(params, schedule, workspace, stride, stream);
  }
  return true;
}

void launch(const SelectGateBlocksParams& params, float* workspace, int num_multiprocessors,
            CUstream_st* stream) {
  const GateScoresTile& tile = tile_for(params.scores, num_multiprocessors);
  const GateScoresSchedule schedule = schedule_of(params.scores, tile, num_multiprocessors);
  if (schedule.num_tiles == 0) return;
  const bool launched = launch_tile<64, 1>(params, tile, schedule, workspace, stream) ||
                        launch_tile<64, 2>(params, tile, schedule, workspace, stream) ||
                        launch_tile<64, 4>(params, tile, schedule, workspace, stream) ||
                        launch_tile<16, 4>(params, tile, schedule, workspace, stream) ||
                        launch_tile<32, 8>(params, tile, schedule, workspace, stream) ||
                        launch_tile<16, 16>(params, tile, schedule, workspace, stream) ||
                        launch_tile<8, 32>(params, tile, schedule, workspace, stream);
  if (!launched) throw std::logic_error("gate_scores: a tile without an instance");
}

}  // namespace

bool has_gate_scores_cuda(const GateScoresParams& params) {
  return params.element == Element::kBFloat16 && (params.width == 64 || params.width == 128) &&
         find_tile(params, 1) != nullptr;
}

void gate_scores_cuda(const GateScoresParams& params, int num_multiprocessors,
                      CUstream_st* stream) {
  launch({.scores = params}, nullptr, num_multiprocessors, stream);
}

std::size_t select_gate_blocks_cuda_workspace_bytes(const SelectGateBlocksParams& params,
                                                    int num_multiprocessors) {
  const GateScoresTile& tile = tile_for(params.scores, num_multiprocessors);
  return sizeof(float) * static_cast<std::size_t>(num_multiprocessors) *
         static_cast<std::size_t>(sm90::kScoresBlocksOfMultiprocessor * tile.rows) *
         static_cast<std::size_t>(workspace_stride(params.scores));
}

void select_gate_blocks_cuda(const SelectGateBlocksParams& params, void* workspace,
                             int num_multiprocessors, CUstream_st* stream) {
  launch(params, static_cast<float*>(workspace), num_multiprocessors, stream);
}

}  // namespace seer
