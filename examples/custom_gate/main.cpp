// Makes an adapter with the design of last_token_gate.cpp for a model, reads it back and scores random input.
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>

#include <exception>
#include <iostream>

#include "seer/gate.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: custom_gate MODEL_FOLDER NEW_ADAPTER_FOLDER\n";
    return 2;
  }
  try {
    const seer::ModelConfig model = seer::read_model_config(argv[1]);
    seer::GateConfig config = seer::default_gate_config("last-token", model);
    config.options["tail"] = 8.0;
    seer::GateSet gates(config, model);
    gates.initialise(seer::GateInit::kNormal, /*seed=*/1);
    gates.save(argv[2]);

    const seer::GateSet read = seer::GateSet::load(argv[2], model);
    const std::int64_t length = 1000;
    const at::Tensor q = at::randn({1, model.num_q_heads, length, model.head_dim});
    const at::Tensor k = at::randn({1, model.num_kv_heads, length, model.head_dim});
    const auto score = [&](const seer::Gate& gate) {
      return gate.block_logits(gate.query_representatives(q, 0), gate.key_representatives(k, 0),
                               length, length);
    };
    const at::Tensor logits = score(read.layer(0));
    if (!at::equal(logits, score(gates.layer(0)))) {
      std::cerr << "the adapter that was read scores differently\n";
      return 1;
    }
    std::cout << read.config().design << ": " << read.parameter_count() << " parameters, logits "
              << logits.sizes() << "\n";
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
