// The program `seer`: one verb a job.
#include <c10/util/Exception.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <exception>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "cli/batch.h"
#include "cli/bench.h"
#include "cli/calibrate.h"
#include "cli/distill.h"
#include "cli/doctor.h"
#include "cli/eval.h"
#include "cli/finetune.h"
#include "cli/gates.h"
#include "cli/generate.h"
#include "cli/info.h"
#include "cli/interrupt.h"
#include "cli/plot.h"
#include "cli/pull.h"
#include "cli/recipe.h"
#include "cli/score.h"
#include "cli/tokenize.h"

namespace seer::cli {
namespace {

// What went wrong, with the words that lead there: an unknown or missing verb is answered with the
// verbs that exist.
std::string explain(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  const CLI::App* command = &app;
  std::string words = app.get_name();
  std::string known;
  int next = 1;
  for (;;) {
    const std::string word = next < argc ? argv[next] : "";
    const CLI::App* chosen = nullptr;
    known.clear();
    for (const CLI::App* verb : command->get_subcommands(nullptr)) {
      known += (known.empty() ? "" : ", ") + verb->get_name();
      if (verb->get_name() == word) chosen = verb;
    }
    if (chosen == nullptr) break;
    command = chosen;
    words += " " + word;
    ++next;
  }
  if (known.empty()) return words + ": " + error.what();
  if (next == argc) return words + ": expected one of: " + known;
  return words + ": unknown '" + argv[next] + "', expected one of: " + known;
}

int run(int argc, char** argv) {
  CLI::App app("Learned block-sparse attention.", "seer");
  app.set_version_flag("--version", std::string("seer ") + SEER_VERSION);
  app.require_subcommand(1);
  std::function<int()> action;
  add_bench(app, action);
  add_batch(app, action);
  add_distill(app, action);
  add_calibrate(app, action);
  add_finetune(app, action);
  add_generate(app, action);
  add_score(app, action);
  add_eval(app, action);
  add_plot(app, action);
  add_gates(app, action);
  add_info(app, action);
  add_tokenize(app, action);
  add_pull(app, action);
  add_doctor(app, action);
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (const CLI::App* verb : app.get_subcommands(nullptr)) {
    if (argc < 2 || verb->get_name() != argv[1]) continue;
    if (verb->get_option_no_throw("--recipe") == nullptr) continue;
    arguments = expand_recipe({argv + 2, argv + argc}, *verb);
    arguments.insert(arguments.begin(), argv[1]);
  }
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
  try {
    app.parse(arguments);
  } catch (const CLI::Success& success) {
    return app.exit(success);  // --help, --version
  } catch (const CLI::ParseError& error) {
    std::cerr << explain(app, error, argc, argv) << "\n--help lists what is accepted" << std::endl;
    return kExitWrongUsage;
  }
  return action();
}

}  // namespace
}  // namespace seer::cli

int main(int argc, char** argv) {
  try {
    return seer::cli::run(argc, argv);
  } catch (const seer::cli::Interrupted&) {
    std::cerr << "seer: interrupted; nothing was written" << std::endl;
    return seer::cli::kExitInterrupted;
  } catch (const std::invalid_argument& error) {
    std::cerr << "seer: " << error.what() << std::endl;
    return seer::cli::kExitWrongUsage;
  } catch (const c10::Error& error) {
    std::cerr << "seer: " << error.what_without_backtrace() << std::endl;
    return seer::cli::kExitFailed;
  } catch (const std::exception& error) {
    std::cerr << "seer: " << error.what() << std::endl;
    return seer::cli::kExitFailed;
  }
}
