// Trains attention gates on the model's own attention maps: the model is frozen, and each layer's gate learns the block
// map of its layer (self-distillation).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "seer/gate.h"
#include "seer/gate_loss.h"
#include "seer/model.h"
#include "seer/process_group.h"
#include "seer/training_data.h"

namespace seer {

// So many training sequences of so many tokens.
struct LengthCount {
  std::int64_t length = 0;
  std::int64_t sequences = 0;
};

struct DistillOptions {
  std::int64_t context = 8192;  // tokens of a sequence, where `lengths` does not say otherwise
  // Sequences of several lengths, each length once: so many of each make a round, in an order drawn from `seed`, and
  // rounds follow each other as long as there are steps. Empty: `context` is the only length.
  std::vector<LengthCount> lengths = {};
  std::int64_t batch_size = 1;  // sequences whose gradients make one update
  std::int64_t steps = 183;     // each takes batch_size new sequences through the model
  // Further updates of the gates in each step, on sequences drawn from the last `replay_sequences`, of which the
  // teacher's maps and what the gates read are kept: the model does not run again. Learning rate and warm-up count
  // updates: there are steps * (1 + replay).
  std::int64_t replay = 0;
  std::int64_t replay_sequences = 32;
  double learning_rate = 4e-3;
  double final_learning_rate = 0;  // the cosine ends here
  std::int64_t warmup_steps = 20;  // updates; linear
  double weight_decay = 0;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;  // AdamW
  double clip_norm = 1.0;  // of the gradient of all gates together; 0: none
  DistillLoss loss = DistillLoss::kKl;
  double loss_scale = 10;  // multiplies the sum of the layers' losses
  // 1: the published target. Above, the teacher's peaks count more, and with them what a question has to find.
  double target_power = 1.3;
  double row_slice = 0.25;    // the first rows of a map that are left out: int(row_slice * rows)
  double recall_ratio = 0.1;  // recall is reported for the ratio rule at this ratio
  bool stream_layers =
      false;  // the sequences of a step go through each layer together; see ModelOptions
  std::int64_t checkpoint_interval = 20;  // steps
  std::uint64_t seed = 0;                 // of the order of lengths and of what is replayed

  std::int64_t longest_sequence() const;
  GateLossOptions gate_loss() const {
    return {.loss = loss, .target_power = target_power, .row_slice = row_slice};
  }
  std::int64_t updates() const { return steps * (1 + replay); }
  // Throws std::invalid_argument naming the field, its value and what is accepted.
  void check() const;
};

// After each step. Losses, recalls and norm are those of its first update, on the new sequences.
struct DistillProgress {
  std::int64_t step = 0;  // from 1
  double loss = 0;        // scaled sum over layers, mean over the step's sequences
  double learning_rate = 0;
  double gradient_norm = 0;        // before clipping
  std::vector<double> layer_loss;  // unscaled
  std::vector<double>
      layer_recall;         // share of the teacher's mass in the blocks that the gate would keep
  std::int64_t tokens = 0;  // since the start, resumed steps included
  double seconds = 0;       // of this step
  // One object of JSON, without the line's end.
  std::string to_json() const;
};

// Runs the steps. Deterministic: the same model, gates, data, options and number of threads give the same gates, also
// when training was interrupted and resumed.
// Every process of a group makes the same calls; throws LostRank where one does not.
class Distiller {
 public:
  // All must outlive the object. `gates` are trained in place.
  Distiller(const Model& model, GateSet& gates, const TrainingData& data,
            const DistillOptions& options, ProcessGroup group = {});
  ~Distiller();
  Distiller(const Distiller&) = delete;
  Distiller& operator=(const Distiller&) = delete;

  std::int64_t step() const;    // steps done
  std::int64_t tokens() const;  // that they took through the model
  bool is_done() const;
  // Throws std::runtime_error naming the layer where a loss or gradient is not finite: the gates are then as they were
  // before that update. On a GPU the host looks once a step, and waits for the device only there.
  DistillProgress run_step();

  // A checkpoint is a folder: the gates, the optimizer's moments and what they belong to. Written whole or not at all.
  // What is kept for replay is not in it. Of a group, the first process writes it for all, who wait; a group of any size
  // resumes from it.
  void save_checkpoint(const std::filesystem::path& folder) const;
  // Continues from one. What was kept for replay is made again: the model runs over the last sequences. Throws std::runtime_error naming the file, and the setting in which it was made differently.
  void resume(const std::filesystem::path& folder);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Learning rate of an update from 0: linear warm-up, then a cosine down to final_learning_rate.
double learning_rate_at(const DistillOptions& options, std::int64_t update);

// "8192" where that is the only length, "8192:126,16384:14" where there are several; and back. parse_lengths() sets
// `context` or `lengths`; it throws std::invalid_argument naming the text and what is accepted.
std::string lengths_text(const DistillOptions& options);
void parse_lengths(std::string_view text, DistillOptions& options);

}  // namespace seer
