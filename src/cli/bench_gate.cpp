#include "cli/bench_gate.h"

#include <memory>
#include <stdexcept>
#include <string>

#include "bench/kernels/gate_bench.h"
#include "bench/support/whole_file.h"
#include "cli/bench_results.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/policy_flags.h"
#include "seer/device.h"

namespace seer::cli {
namespace {

struct GateFlags {
  bench::GateBenchOptions options;
  std::vector<std::string> policies;
  std::string device = "cuda", dtype, out;
  bool json = false;
};

int bench_gate(GateFlags flags) {
  bench::GateBenchOptions& options = flags.options;
  options.device = device_of(flags.device);
  options.dtype = dtype_of(flags.dtype, options.device);
  require_device(options.device);
  if (!flags.policies.empty()) options.policies = split_policies(flags.policies);
  bench::check_gate_bench(options);
  if (!flags.out.empty()) bench::check_writable(flags.out);
  watch_for_interrupt();
  const bench::GateBenchResult result = bench::run_gate_bench(options, throw_if_interrupted, say);
  return report_results(flags.out, flags.json, bench::gate_json_lines(result),
                        bench::gate_table(result));
}

}  // namespace

void add_bench_gate(CLI::App& bench, std::function<int()>& action) {
  CLI::App* command = bench.add_subcommand("gate",
                                           "What a layer's gate and its selection cost beside "
                                           "RoPE, and the same by LibTorch's operators");
  auto flags = std::make_shared<GateFlags>();
  bench::GateBenchOptions& options = flags->options;
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  const CLI::Validator integer = number<std::int64_t>("an integer");
  command->add_option("--seq", options.lengths, "Tokens, with commas for several lengths")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->check(integer);
  command
      ->add_option("--policy", flags->policies,
                   "How blocks are chosen, several with ';' between them (default: gate:ratio=0.1)")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_option("--heads", options.num_q_heads, "Query heads")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--kv-heads", options.num_kv_heads, "Key/value heads")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--head-dim", options.head_dim, "Width of a head")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--block-size", options.block_size, "Tokens a block: 16, 32, 64 or 128")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--design", options.design, "Of the gate; see docs/gates.md")
      ->capture_default_str();
  add_device_flags(*command, flags->device, flags->dtype);
  command->add_option("--repeats", options.repeats, "Timed rounds")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--warmup", options.warmup, "Rounds before them")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--seed", options.seed, "Seed of data and weights")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
  command->add_flag("--json", flags->json, "JSON Lines on standard output and nothing else");
  command->add_option("--out", flags->out, "Write the JSON Lines to this file as well");
  command->callback([&action, flags] { action = [flags] { return bench_gate(*flags); }; });
}

}  // namespace seer::cli
