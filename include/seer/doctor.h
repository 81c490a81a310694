// What this machine can run, and what keeps it from more.
#pragma once

#include <string>
#include <vector>

namespace seer {

enum class Verdict { kGood, kNote, kProblem };

const char* verdict_name(Verdict verdict);  // "good", "note", "problem"

struct DoctorFinding {
  std::string subject;  // "processor", "threads", ...
  Verdict verdict = Verdict::kGood;
  std::string finding;
  std::string fix;  // what to do; empty where there is nothing
};

// Processor, threads, memory, LibTorch, OpenMP, GPUs, and the cache of the hub with its disk. Never throws for what it
// finds; changes nothing.
std::vector<DoctorFinding> examine_machine();

}  // namespace seer
