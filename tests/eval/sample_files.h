// Samples of an evaluation that did not happen.
#pragma once

#include <string>

#include "seer/eval.h"

namespace seer::test {

inline EvalSample made_up_sample(const std::string& policy, std::int64_t context,
                                 std::int64_t index, double density, double seconds) {
  EvalSample sample;
  sample.policy = policy;
  sample.context = context;
  sample.sample = index;
  sample.nll = 4.0 + 0.1 * static_cast<double>(index) + (1 - density) * 0.05;
  sample.density = density;
  sample.layer_density = {density, density};
  sample.recall = 1 - (1 - density) * 0.3;
  sample.layer_recall = {*sample.recall, *sample.recall};
  sample.seconds = seconds;
  sample.configuration = R"({"model":"m","seed":0})";
  sample.origin = {.version = "0.1.0",
                   .commit = "abc",
                   .cpu = "A <cpu>",
                   .isa = "avx2",
                   .torch = "2.13.0",
                   .threads = 2,
                   .started = "2026-11-24T00:00:00Z"};
  return sample;
}

}  // namespace seer::test
