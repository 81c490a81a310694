// Why methods stand in the order they do: a section of the report.
#pragma once

#include <string>
#include <vector>

#include "seer/eval_results.h"

namespace seer {

// HTML: a table of the methods at the longest context, each at the density nearest to `density`, best first, with what each
// of them looks at; sentences on what the figures say; and retrieval with and without dense last rows. "" where there are
// fewer than two methods.
std::string method_order_html(const std::vector<EvalSummary>& summaries, double density);

}  // namespace seer
