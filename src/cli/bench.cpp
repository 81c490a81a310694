#include "cli/bench.h"

#include "cli/bench_attention.h"
#include "cli/bench_gate.h"
#include "cli/bench_models.h"

namespace seer::cli {

void add_bench(CLI::App& app, std::function<int()>& action) {
  CLI::App* verb = app.add_subcommand("bench", "Measure kernels and models against their peers");
  verb->require_subcommand(1);
  add_bench_attention(*verb, action);
  add_bench_gate(*verb, action);
  add_bench_models(*verb, action);
}

}  // namespace seer::cli
