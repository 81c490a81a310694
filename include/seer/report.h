// Results as one HTML file: charts and pictures are inside it, nothing is loaded, nothing runs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "seer/eval_results.h"
#include "seer/gate.h"
#include "seer/model.h"
#include "seer/tokenizer.h"

namespace seer {

// The block maps of one head over one prompt. All float32 or bool [query blocks, key blocks].
struct BlockMaps {
  std::int64_t layer = 0, head = 0;
  std::int64_t block_size = 64;
  std::int64_t tokens = 0;  // of the prompt
  std::string policy;
  at::Tensor truth;      // largest true probability inside each block, each row divided by its sum
  at::Tensor predicted;  // the gate's, rows that sum to 1; undefined without gates
  at::Tensor mask;       // the blocks that the policy kept
  double density = 0;
  double kept_share = 0;  // of the true map's sum
};

struct BlockMapOptions {
  std::string policy = "gate:ratio=0.1";
  // Layer and head. Empty: one head in each of `count` layers, those that look furthest beyond the first block and the
  // last ones, since there a gate has something to learn.
  std::vector<std::pair<std::int64_t, std::int64_t>> heads;
  std::int64_t count = 4;
  std::int64_t block_size = 64;  // of policies without gates
};

// Runs the model over `tokens` at once under the policy and takes down the maps. `gates` may be null. Throws
// std::invalid_argument naming the layer or head that there is not, or what is wrong with the policy.
std::vector<BlockMaps> record_block_maps(const Model& model, const GateSet* gates,
                                         const std::vector<TokenId>& tokens,
                                         const BlockMapOptions& options);

struct TrainingStep {
  std::int64_t step = 0;
  double loss = 0;
  std::vector<double> layer_recall;  // may be empty
};

// A log of `seer distill`: one JSON object a line with at least step and loss; of steps that were done again after an
// interruption the last counts, and a last line without an end is left out. Throws std::runtime_error naming file, line
// and field.
std::vector<TrainingStep> read_training_log(const std::filesystem::path& file);

struct ReportInput {
  std::string title = "Seer: dense and sparse attention";
  std::vector<EvalSample> samples;
  std::vector<std::pair<std::string, std::vector<TrainingStep>>> training;  // by name
  std::vector<BlockMaps> maps;
};

// The whole HTML file. What there is no data for is left out.
std::string html_report(const ReportInput& input);

// Writes it, whole or not at all. Throws std::runtime_error naming the file.
void write_report(const ReportInput& input, const std::filesystem::path& file);

// The report's pictures as files of `folder`, which is made where it is not there: NAME.svg and NAME.csv of each chart and
// grid, NAME.png of block maps (one pixel a block), summary.csv of all results. With `png` also NAME.png of charts and
// grids, 3 pixels a unit, by the program rsvg-convert (librsvg). Returns the files' names, in order. Throws
// std::runtime_error naming the file that cannot be written, or that rsvg-convert is missing or failed.
std::vector<std::string> write_figures(const ReportInput& input,
                                       const std::filesystem::path& folder, bool png);

}  // namespace seer
