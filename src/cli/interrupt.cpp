#include "cli/interrupt.h"

#include <csignal>

namespace seer::cli {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

void take_note(int) {
  g_interrupted = 1;
}

void watch_for(int signal) {
  struct sigaction action = {};
  action.sa_handler = take_note;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

void watch_for_interrupt() {
  watch_for(SIGINT);
}

void watch_for_termination() {
  watch_for(SIGTERM);
}

bool interrupted() {
  return g_interrupted != 0;
}

void throw_if_interrupted() {
  if (interrupted()) throw Interrupted();
}

}  // namespace seer::cli
