#include "cli/bench_results.h"

#include <iostream>
#include <stdexcept>

#include "bench/support/whole_file.h"
#include "cli/interrupt.h"

namespace seer::cli {

int report_results(const std::string& out, bool as_json, const std::string& lines,
                   const std::string& table) {
  if (!out.empty()) bench::write_whole_file(out, lines);
  std::cout << (as_json ? lines : table) << std::flush;
  if (!std::cout) throw std::runtime_error("cannot write the results to standard output");
  return kExitDone;
}

}  // namespace seer::cli
