#include "cli/doctor.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "cli/interrupt.h"
#include "seer/doctor.h"

namespace seer::cli {
namespace {

void print_line(const DoctorFinding& found) {
  std::string subject = found.subject;
  subject.resize(std::max<std::size_t>(subject.size(), 10), ' ');
  std::string verdict = verdict_name(found.verdict);
  verdict.resize(8, ' ');
  std::cout << subject << verdict << found.finding << '\n';
  if (!found.fix.empty()) std::cout << std::string(18, ' ') << "-> " << found.fix << '\n';
}

void print_json(const DoctorFinding& found) {
  nlohmann::ordered_json line = {{"subject", found.subject},
                                 {"verdict", verdict_name(found.verdict)},
                                 {"finding", found.finding}};
  line["fix"] = found.fix.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(found.fix);
  // Names of files need not be UTF-8.
  std::cout << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
}

int doctor(bool json) {
  const std::vector<DoctorFinding> all = examine_machine();
  for (const DoctorFinding& found : all) json ? print_json(found) : print_line(found);
  std::cout << std::flush;
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  const bool problems = std::any_of(all.begin(), all.end(), [](const DoctorFinding& found) {
    return found.verdict == Verdict::kProblem;
  });
  return problems ? kExitFailed : kExitDone;
}

}  // namespace

void add_doctor(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand("doctor",
                                         "Show what this machine can run, and how to mend what is "
                                         "in the way (exit code 1 for problems)");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "JSON Lines on standard output and nothing else");
  command->callback([&action, json] { action = [json] { return doctor(*json); }; });
}

}  // namespace seer::cli
