#include "cli/bench_attention.h"

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "bench/kernels/attention_bench.h"
#include "bench/kernels/attention_report.h"
#include "bench/model/gate_masks.h"
#include "bench/support/whole_file.h"
#include "cli/bench_results.h"
#include "cli/flag_checks.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/sparse_flags.h"
#include "cli/text_flags.h"
#include "seer/device.h"
#include "seer/hub.h"

namespace seer::cli {
namespace {

struct AttentionFlags {
  bench::AttentionBenchOptions options;
  std::string device = "cpu", dtype, out;
  // Where masks come from besides random ones.
  std::string model, gates, policy;
  TextSource text;
  bool json = false;
};

constexpr int kRepeatsOnGpu = 20, kWarmupOnGpu = 3;

// The masks of --gates on the first --seq tokens of --text.
bench::NamedMask masks_of_gates(const AttentionFlags& flags) {
  if (flags.model.empty() || flags.gates.empty() || flags.text.paths.empty()) {
    throw std::invalid_argument(
        "--model, --gates and --text: expected all of them, to measure the masks of gates, or "
        "none");
  }
  const bench::AttentionBenchOptions& options = flags.options;
  bench::ModelSource source;
  source.folder = resolve_model(flags.model);
  source.gates = flags.gates;
  source.device = options.device;
  source.dtype = options.dtype;
  const ModelConfig config = bench::config_of(source);
  const GateSet gates = GateSet::load(flags.gates, config);
  if (gates.config().block_size != options.block_size) {
    throw std::invalid_argument("--block-size " + std::to_string(options.block_size) +
                                ": expected that of --gates, " +
                                std::to_string(gates.config().block_size));
  }
  const TokenStream stream = load_text(flags.text, Tokenizer::load(source.folder), config);
  const auto length = static_cast<std::size_t>(options.q_len);
  if (stream.tokens.size() < length) {
    throw std::invalid_argument("--text: " + std::to_string(stream.tokens.size()) +
                                " tokens are fewer than --seq " + std::to_string(length));
  }
  const std::vector<TokenId> tokens(stream.tokens.begin(),
                                    stream.tokens.begin() + static_cast<std::ptrdiff_t>(length));
  const std::string policy = flags.policy.empty() ? default_policy(gates) : flags.policy;
  return {.name = policy,
          .block_mask = bench::gate_masks(source, policy, tokens, options.num_q_heads)};
}

int bench_attention(AttentionFlags flags, const CLI::App& command) {
  bench::AttentionBenchOptions& options = flags.options;
  if (command.count("--kv-seq") == 0) options.kv_len = options.q_len;
  if (command.count("--threads") == 0) options.threads = bench::default_threads();
  options.device = device_of(flags.device);
  options.dtype = dtype_of(flags.dtype, options.device);
  require_device(options.device);
  if (options.device.is_cuda()) {
    if (command.count("--repeats") == 0) options.repeats = kRepeatsOnGpu;
    if (command.count("--warmup") == 0) options.warmup = kWarmupOnGpu;
  }
  bench::check_attention_bench(options);
  if (!flags.out.empty()) bench::check_writable(flags.out);

  watch_for_interrupt();
  if (!flags.model.empty() || !flags.gates.empty() || !flags.text.paths.empty()) {
    options.masks.push_back(masks_of_gates(flags));
  }
  const bench::AttentionBenchResult result =
      bench::run_attention_bench(options, throw_if_interrupted, say);
  return report_results(flags.out, flags.json, bench::attention_json_lines(result),
                        bench::attention_table(result));
}

}  // namespace

void add_bench_attention(CLI::App& bench, std::function<int()>& action) {
  CLI::App* command = bench.add_subcommand(
      "attention",
      "Dense, block-sparse and block-map attention, or its backward, against LibTorch's attention");
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
  command->add_flag("--backward", options.backward,
                    "The gradients of q, k and v, against those of LibTorch's attention");
  add_device_flags(*command, flags->device, flags->dtype);
  command->add_option("--model", flags->model,
                      "Also measure the masks that gates choose: the model's folder");
  command->add_option("--gates", flags->gates, "The adapter of these gates");
  command->add_option("--policy", flags->policy, "How they choose (default: as in generate)");
  add_text_flags(*command, flags->text, /*required=*/false);
  command->add_option("--threads", options.threads, "Threads (default: as LibTorch chooses)")
      ->check(integer);
  command->add_option("--repeats", options.repeats, "Timed rounds (on a GPU 20)")
      ->capture_default_str()
      ->check(integer);
  command->add_option("--warmup", options.warmup, "Rounds before them (on a GPU 3)")
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
