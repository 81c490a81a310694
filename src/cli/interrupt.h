#pragma once

#include <stdexcept>

namespace seer::cli {

constexpr int kExitDone = 0;
constexpr int kExitFailed = 1;
constexpr int kExitWrongUsage = 2;
constexpr int kExitInterrupted = 130;  // as shells report a program that Ctrl-C ended

struct Interrupted : std::runtime_error {
  Interrupted() : std::runtime_error("interrupted") {}
};

// From here on the first Ctrl-C only takes a note, for throw_if_interrupted(); a second one ends
// the program at once.
void watch_for_interrupt();
// Likewise of SIGTERM: torchrun sends it to all where one has ended, and the others shall say which.
void watch_for_termination();

// Whether there was a Ctrl-C.
bool interrupted();

// Throws Interrupted after a Ctrl-C.
void throw_if_interrupted();

}  // namespace seer::cli
