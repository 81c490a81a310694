// The charts of a report.
#pragma once

#include <string>
#include <vector>

#include "eval/figure.h"
#include "seer/eval_results.h"
#include "seer/report.h"

namespace seer {

// The density that the headline, the order of methods and the charts by layer are about.
inline constexpr double kReportDensity = 0.1;

// Policies that differ only in the value of their rule: one line in a chart. "gate by density", say.
std::string policy_family(const EvalSummary& summary, bool with_gates);

// Those without anything to show are left out.
using Figures = std::vector<Figure>;

// The score of each task and recall against density, each for every context.
Figures quality_charts(const std::vector<EvalSummary>& summaries);
// Seconds of prefill against density, for every context.
Figures time_charts(const std::vector<EvalSummary>& summaries);
// Density and recall of each layer at the longest context, for the policy of each family that is nearest to `density`; and
// of those whose heads differ, the density of each layer and head.
Figures layer_charts(const std::vector<EvalSummary>& summaries, double density);
// Score by depth of the needle and length of the text: a grid for each task and policy. Tasks with more
// than 21 depths are left out where there are others, else their depths are put together by tenths.
Figures depth_maps(const std::vector<DepthScore>& scores);
// Loss and recall against step.
Figures training_charts(
    const std::vector<std::pair<std::string, std::vector<TrainingStep>>>& training);

}  // namespace seer
