// What the datasets are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace seer::longbench {

struct Metric {
  const char* name;
  double (*score)(std::string_view prediction, std::string_view reference,
                  const std::vector<std::string>& classes);
};

struct Dataset {
  const char* name;
  const Metric* metric;
  std::int64_t max_new_tokens;
  const char* prompt;       // built in: a template with {context} and {input}
  bool is_few_shot = false;  // of a prediction the first line counts
  bool is_plain = false;     // no chat template
  bool is_in_e = false;
};

const std::vector<Dataset>& datasets();

// Of "qasper" and of LongBench-E's "qasper_e". Throws std::invalid_argument that lists the names.
const Dataset& dataset_of(std::string_view name);

bool needs_classes(const Dataset& dataset);

// The best over the references, 0 to 1.
double score(const Dataset& dataset, std::string_view prediction,
             const std::vector<std::string>& references, const std::vector<std::string>& classes);

}  // namespace seer::longbench
