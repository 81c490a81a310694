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

enum class Form {
  kRequest,   // may stand in a chat template
  kExamples,  // solved ones first; of a prediction the first line counts
  kCode,      // to be gone on with
};

struct Dataset {
  const char* name;
  const Metric* metric;
  std::int64_t max_new_tokens;
  Form form;
  bool is_in_e;        // also one of LongBench-E
  const char* prompt;  // built in: a template with {context} and {input}
};

const std::vector<Dataset>& datasets();

// Of "qasper" and of LongBench-E's "qasper_e". Throws std::invalid_argument that lists the names.
const Dataset& dataset_of(std::string_view name);

bool needs_classes(const Dataset& dataset);

// The best over the references, 0 to 1.
double score(const Dataset& dataset, std::string_view prediction,
             const std::vector<std::string>& references, const std::vector<std::string>& classes);

}  // namespace seer::longbench
