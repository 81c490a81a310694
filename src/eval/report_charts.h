// The charts of a report.
#pragma once

#include <string>
#include <vector>

#include "seer/eval.h"
#include "seer/report.h"

namespace seer {

// Policies that differ only in the value of their rule: one line in a chart. "gate by density", say.
std::string policy_family(const EvalSummary& summary, bool with_gates);

// SVG elements. Perplexity, retrieval and recall against density, each for every context.
std::vector<std::string> quality_charts(const std::vector<EvalSummary>& summaries);
// Seconds of prefill against density, for every context.
std::vector<std::string> time_charts(const std::vector<EvalSummary>& summaries);
// Density and recall of each layer at the longest context, for the policy of each family that is nearest to `density`.
std::vector<std::string> layer_charts(const std::vector<EvalSummary>& summaries, double density);
// Loss and recall against step.
std::vector<std::string> training_charts(
    const std::vector<std::pair<std::string, std::vector<TrainingStep>>>& training);

}  // namespace seer
