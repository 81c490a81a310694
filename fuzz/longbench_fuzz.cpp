// The rows of a LongBench file, of each kind of metric, and scores of their texts.
#include "eval/longbench/rows.h"

#include <stdexcept>

#include "fuzz/fuzz_target.h"

void seer::fuzz::parse_input(std::string_view input) {
  // The first byte names the dataset: 'a' narrativeqa, 'b' qasper, ...
  if (input.empty()) throw std::runtime_error("expected a byte that names the dataset");
  const auto& datasets = longbench::datasets();
  const auto number = static_cast<std::size_t>(static_cast<unsigned char>(input.front() - 'a'));
  const longbench::Dataset& dataset = datasets[number % datasets.size()];
  for (const longbench::Row& row : longbench::parse_rows(input.substr(1), "rows", dataset)) {
    // Scores of long texts take the product of their lengths.
    const std::string_view prediction = std::string_view(row.context).substr(0, 1000);
    const double score = longbench::score(dataset, prediction, row.answers, row.classes);
    if (!(score >= 0 && score <= 1)) __builtin_trap();
  }
}
