#include "cli/bench_attention.h"

#include <cstdint>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

#include "bench/kernels/attention_bench.h"
#include "bench/kernels/attention_report.h"
#include "bench/support/whole_file.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"

namespace seer::cli {
namespace {

struct AttentionFlags {
  bench::AttentionBenchOptions options;
  bool json = false;
  std::string out;
};

int bench_attention(AttentionFlags flags, const CLI::App& command) {
  bench::AttentionBenchOptions& options = flags.options;
  if (command.count("--kv-seq") == 0) options.kv_len = options.q_len;
  if (command.count("--threads") == 0) options.threads = bench::default_threads();
  bench::check_attention_bench(options);
  if (!flags.out.empty()) bench::check_writable(flags.out);

  watch_for_interrupt();
  const bench::AttentionBenchResult result = bench::run_attention_bench(
      options, throw_if_interrupted,
      [](const std::string& line) { std::cerr << "seer: " << line << std::endl; });
  const std::string lines = bench::attention_json_lines(result);
  if (!flags.out.empty()) bench::write_whole_file(flags.out, lines);
  std::cout << (flags.json ? lines : bench::attention_table(result)) << std::flush;
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  return kExitDone;
}

}  // namespace

void add_bench_attention(CLI::App& bench, std::function<int()>& action) {
  CLI::App* command = bench.add_subcommand(
      "attention", "Dense, block-sparse and block-map attention against LibTorch's attention");
  auto flags = std::make_shared<AttentionFlags>();
  bench::AttentionBenchOptions& options = flags->options;
  // A flag given twice: the last one counts, so that a script's command line can be extended.
  command->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  const CLI::Validator integer = number<std::int64_t>("an integer");
  command->add_option("--seq", options.q_len, "Queries")->capture_default_str()->check(integer);
  command
      ->add_option("--kv-seq", options.kv_len, "Keys, at least as many as queries (default: --seq)")
      ->check(integer);
  command->add_option("--batch", options.batch, "Batch size")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--heads", options.num_q_heads, "Query heads")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--kv-heads", options.num_kv_heads, "Key/value heads")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--head-dim", options.head_dim, "Width of a head, 1 to 512")
      ->capture_default_str()
      ->check(integer);
  command
      ->add_option("--density", options.densities,
                   "Shares of the causal blocks to keep, above 0 and at most 1, with commas")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->check(number<double>("a number"));
  command->add_option("--block-size", options.block_size, "Tokens a block: 16, 32, 64 or 128")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--dtype", options.dtype, "float32 or bfloat16")->capture_default_str();
  command->add_option("--device", options.device, "cpu")->capture_default_str();
  command->add_option("--threads", options.threads, "Threads (default: as LibTorch chooses)")
      ->check(integer);
  command->add_option("--repeats", options.repeats, "Timed rounds")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--warmup", options.warmup, "Rounds before them")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--seed", options.seed, "Seed of data and masks")
      ->capture_default_str()
      ->check(number<std::uint64_t>("an integer from 0"));
  command->add_flag("--json", flags->json, "JSON Lines on standard output and nothing else");
  command->add_option("--out", flags->out, "Write the JSON Lines to this file as well");
  command->callback([&action, flags, command] {
    action = [flags, command] { return bench_attention(*flags, *command); };
  });
}

}  // namespace seer::cli
