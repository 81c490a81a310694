// Full-parameter training with the attention that the model will run with: context extension at a fixed density, or
// densely. Gates learn beside, or are frozen.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seer/attention.h"
#include "seer/checkpoint.h"
#include "seer/config.h"
#include "seer/gate.h"
#include "seer/gate_loss.h"
#include "seer/process_group.h"
#include "seer/schedule.h"
#include "seer/training_data.h"

namespace seer {

// How positions beyond those of the original training are turned: "yarn:4", "linear:4" or "llama3:8".
struct RopeScaling {
  RopeKind kind = RopeKind::kYarn;
  double factor = 1;
  std::string to_string() const;
};
// Throws std::invalid_argument naming the text and what is accepted.
RopeScaling parse_rope_scaling(std::string_view text);
// The model with factor times its positions. Throws std::invalid_argument where its RoPE is scaled already.
ModelConfig scale_rope(const ModelConfig& model, const RopeScaling& scaling);

struct FinetuneOptions {
  std::int64_t context = 4096;  // tokens of a sequence
  std::int64_t steps = 400;     // updates
  std::int64_t batch_size = 1;  // sequences that run together
  // Such batches whose gradients make one update: on all processes of a group together.
  std::int64_t gradient_accumulation = 1;
  double learning_rate = 1e-5;
  double final_learning_rate = 0;
  LearningRateSchedule schedule = LearningRateSchedule::kLinear;
  std::int64_t warmup_steps = 20;
  double weight_decay = 0;                            // of matrices; norms and biases have none
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // AdamW
  double clip_norm = 1.0;  // of the model's gradient, and of the gates' by itself; 0: none

  // Which blocks the layers attend to, forward and backward: as SparseAttention takes it.
  std::string policy = "gate:ratio=0.5";
  AttentionBackend attention = AttentionBackend::kSeer;  // of the policy "dense"
  bool recompute = true;  // keep each layer's input alone, and run the layer again for its gradient

  bool freeze_gates = false;
  // Steps from one in which the gates learn to the next: the teacher's maps cost as much as dense attention.
  std::int64_t gate_interval = 1;
  double gate_learning_rate = 1e-3;  // follows the same schedule
  double gate_loss_scale = 10;       // multiplies the sum of the layers' losses
  GateLossOptions gate_loss = {.row_slice = 0};

  std::int64_t eval_interval = 50;        // steps between losses on held-out text; 0: none
  std::int64_t eval_sequences = 4;        // of `context` tokens
  std::int64_t checkpoint_interval = 50;  // steps
  // Steps between the times when losses are read: on a GPU the host waits for it there alone.
  std::int64_t log_interval = 10;
  std::uint64_t seed = 0;  // of the policy `random`

  std::int64_t sequences_of_a_step() const { return batch_size * gradient_accumulation; }
  // Whether gates that are not frozen learn in a step, from 0.
  bool gates_learn_in(std::int64_t step) const {
    return !freeze_gates && step % gate_interval == 0;
  }
  // Throws std::invalid_argument naming the field, its value and what is accepted.
  void check() const;
};

// Of a step.
struct FinetuneProgress {
  std::int64_t step = 0;  // from 1
  double loss = 0;        // mean cross-entropy of a token, in nats
  double learning_rate = 0;
  double gradient_norm = 0;  // of the model, before clipping
  double density = 1;        // of the blocks computed since the last time that losses were read
  std::optional<double>
      gate_loss;  // scaled sum over layers, mean over the step's sequences; of steps in which gates learn
  std::optional<double>
      gate_recall;  // mean over layers: the teacher's mass in what the ratio rule keeps at 0.1
  std::optional<double> held_out_loss;  // after the step, where it was measured
  std::int64_t tokens = 0;              // since the start, resumed steps included
  double seconds = 0;                   // of this step; mean since losses were read last
  // One object of JSON, without the line's end.
  std::string to_json() const;
};

// Runs the steps. The master weights are float32; the layers compute in `dtype`. Deterministic: the same model, gates,
// data, options, device, number of threads and size of the group give the same weights, also when training was interrupted
// and resumed. Every process of a group makes the same calls; throws LostRank where one does not.
class Finetuner {
 public:
  // All must outlive the object but the checkpoint. `gates` are those of `model` (see adapt_gates()), on the device,
  // trained in place unless options.freeze_gates; null for policies without gates. `held_out` may be null.
  Finetuner(const ModelConfig& model, const Checkpoint& checkpoint, GateSet* gates,
            const TrainingData& data, const TrainingData* held_out, const FinetuneOptions& options,
            at::ScalarType dtype, c10::Device device, ProcessGroup group = {});
  ~Finetuner();
  Finetuner(const Finetuner&) = delete;
  Finetuner& operator=(const Finetuner&) = delete;

  std::int64_t step() const;    // steps done
  std::int64_t tokens() const;  // that they took
  bool is_done() const;
  // Runs a step. Returns what is known of the steps since the last report: nothing between two of log_interval. Throws
  // std::runtime_error where a gradient was not finite: the weights are then as they were before that update.
  std::vector<FinetuneProgress> run_step();
  // Waits for the steps that were not reported yet.
  std::vector<FinetuneProgress> finish();

  // Mean cross-entropy of a token of the held-out sequences, under the policy. No gradient.
  double held_out_loss() const;

  // A checkpoint is a folder: weights, gates, the optimizer's moments and what they belong to. Whole or not at all.
  // Reports must have been taken: call finish() before. Of a group, the first process writes it for all, who wait; a
  // group of any size resumes from it.
  void save_checkpoint(const std::filesystem::path& folder) const;
  void resume(const std::filesystem::path& folder);

  // On the first process alone. Writes a model folder in Hugging Face layout, whole or not at all: the weights in `dtype` (in shards of at most
  // 5 GB), config.json of `source` with the new positions, and its tokenizer and generation settings as they are; where
  // there are gates, their adapter in the folder `gates` inside, without the calibration of the model before training.
  // `scaling`: what was given to scale_rope(), if anything.
  void write_model(const std::filesystem::path& source, const std::optional<RopeScaling>& scaling,
                   const std::filesystem::path& out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Gates of a model for the same model with other positions: the same weights, without calibration. `gates` may also be
// made for `extended` already. Throws std::runtime_error as GateSet::load().
GateSet adapt_gates(const std::filesystem::path& folder, const ModelConfig& model,
                    const ModelConfig& extended);

// Learning rate of an update from 0.
double learning_rate_at(const FinetuneOptions& options, std::int64_t update);

// All settings as one object of JSON.
std::string settings_json(const FinetuneOptions& options);

// For people: settings, steps and tokens, and estimates of memory and time; `gates` may be null. The time is that of the
// products at the speed that a short measurement of this machine gives.
std::string finetune_plan_text(const ModelConfig& model, const GateSet* gates,
                               const FinetuneOptions& options, at::ScalarType dtype,
                               c10::Device device);

// Throws std::runtime_error unless write_model() may write there.
void check_model_output(const std::filesystem::path& out);

}  // namespace seer
