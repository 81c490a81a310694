#include "cli/progress_line.h"

#include <iostream>

#include <unistd.h>

namespace seer::cli {

ProgressLine::ProgressLine() : is_terminal_(::isatty(STDERR_FILENO) != 0) {}

void ProgressLine::show(std::string text) {
  if (!is_terminal_) {
    std::cerr << text << std::endl;
    return;
  }
  const std::size_t drawn = text.size();
  if (drawn < width_) text.append(width_ - drawn, ' ');
  width_ = drawn;
  std::cerr << '\r' << text << std::flush;
}

void ProgressLine::end() {
  if (width_ > 0) std::cerr << std::endl;
  width_ = 0;
}

void ProgressLine::clear() {
  if (width_ > 0) std::cerr << '\r' << std::string(width_, ' ') << '\r' << std::flush;
  width_ = 0;
}

}  // namespace seer::cli
