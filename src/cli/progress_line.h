#pragma once

#include <cstddef>
#include <string>

namespace seer::cli {

// A line on standard error that says how far a verb is: written over on a terminal, a line each elsewhere.
class ProgressLine {
 public:
  ProgressLine();

  bool is_terminal() const { return is_terminal_; }
  void show(std::string text);
  // Ends the line that is written over, if there is one.
  void end();
  // Takes it away, before anything else is written.
  void clear();

 private:
  bool is_terminal_;
  std::size_t width_ = 0;  // of what stands on the terminal's line
};

}  // namespace seer::cli
