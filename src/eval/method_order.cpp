#include "eval/method_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/selection_policy.h"
#include "eval/chart.h"

namespace seer {
namespace {

// Policies further from the density than this factor are not compared.
constexpr double kFarthest = 1.6;

// What a method knows when it chooses, and what follows.
std::string_view note_on(PolicySource source) {
  switch (source) {
    case PolicySource::kDense: return "computes every block: what all others are held to";
    case PolicySource::kOracle:
      return "keeps the blocks with the largest true probability, at the cost of dense attention: "
             "what a choice of blocks can reach";
    case PolicySource::kGate:
      return "predicts the true block map from pooled queries and keys, as trained";
    case PolicySource::kStreaming:
      return "sees the first block and the last ones: language is mostly local, so perplexity "
             "hardly notices, but what stands in between is never read";
    case PolicySource::kMeanpool:
      return "compares means of blocks: a single outstanding key vanishes in its block's mean";
    case PolicySource::kQuest:
      return "bounds each query's product with a block by the extremes of its keys: a single key "
             "shows, and so do blocks whose extremes belong to different keys";
    case PolicySource::kXattention:
      return "sums products along antidiagonals of each block: lines and blocks are met, a single "
             "key only by one product of each stride";
    case PolicySource::kMinference:
      return "takes the true attention of the last queries for that of all: what these look at, "
             "and what moves along with the query";
    case PolicySource::kFlexprefill:
      return "vertical and slanted lines as the last queries see them, or for heads without "
             "such lines the means of blocks";
    case PolicySource::kRandom: return "knows nothing: what a density gives without a choice";
  }
  return "";
}

struct Method {
  std::string policy, gates;
  SelectionPolicy parsed;
  double density = 0;
  std::optional<double> recall, perplexity, retrieval, ruler, longbench;
};

// What the tasks at one context say of each policy.
std::vector<Method> methods_of(const std::vector<EvalSummary>& summaries, std::int64_t context) {
  std::vector<Method> methods;
  for (const EvalSummary& summary : summaries) {
    if (summary.context != context) continue;
    auto found = std::find_if(methods.begin(), methods.end(), [&](const Method& method) {
      return method.policy == summary.policy && method.gates == summary.gates;
    });
    if (found == methods.end()) {
      methods.push_back({.policy = summary.policy,
                         .gates = summary.gates,
                         .parsed = SelectionPolicy::parse(summary.policy),
                         .density = summary.density,
                         .recall = {},
                         .perplexity = {},
                         .retrieval = {},
                         .ruler = {},
                         .longbench = {}});
      found = methods.end() - 1;
    }
    if (summary.task == "ppl") {
      found->perplexity = summary.score;
      found->density = summary.density;
    }
    if (summary.task == "niah") found->retrieval = summary.score;
    if (summary.task == "ruler/mean") found->ruler = summary.score;
    if (summary.task == "longbench/mean") found->longbench = summary.score;
    if (summary.recall && (!found->recall || summary.task == "ppl")) found->recall = summary.recall;
  }
  return methods;
}

// Policies of one kind at several densities are one method.
std::string kind_of(const Method& method) {
  SelectionPolicy kind = method.parsed;
  kind.value = 0.5;
  kind.budget = 64;
  return kind.to_string() + method.gates;
}

double distance(double density, double wanted) {
  return std::abs(std::log(std::max(density, 1e-9) / wanted));
}

// Of each kind the one nearest to the density, and dense.
std::vector<Method> nearest_to(const std::vector<Method>& methods, double density) {
  std::map<std::string, Method> nearest;
  for (const Method& method : methods) {
    const bool is_dense = method.parsed.source == PolicySource::kDense;
    if (!is_dense && distance(method.density, density) > std::log(kFarthest)) continue;
    const auto [place, is_new] = nearest.emplace(kind_of(method), method);
    if (!is_new && distance(method.density, density) < distance(place->second.density, density)) {
      place->second = method;
    }
  }
  std::vector<Method> chosen;
  for (auto& [kind, method] : nearest) chosen.push_back(std::move(method));
  // Retrieval tells methods apart; perplexity decides between equals.
  std::sort(chosen.begin(), chosen.end(), [](const Method& a, const Method& b) {
    const auto rank = [](const Method& method) {
      return std::tuple(-method.retrieval.value_or(-1), -method.ruler.value_or(-1),
                        method.perplexity.value_or(1e9), method.policy);
    };
    return rank(a) < rank(b);
  });
  return chosen;
}

std::string cell(std::optional<double> value, double scale, int digits) {
  return value ? fmt::format("{:.{}f}", *value * scale, digits) : "";
}

bool is_plain(const Method& method) {
  return method.parsed.dense_rows == 0 && method.parsed.start_layer == 0 &&
         method.parsed.source != PolicySource::kDense;
}

std::string table_html(const std::vector<Method>& methods) {
  std::string html =
      "<table>\n<tr><th class=\"text\">policy</th><th>density</th><th>recall</th>"
      "<th>perplexity</th><th>retrieval, %</th><th>RULER, %</th><th>LongBench, %</th>"
      "<th class=\"text\">what it looks at</th></tr>\n";
  for (const Method& method : methods) {
    html += fmt::format(
        "<tr><td class=\"text\">{}</td><td>{:.4f}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td>{}</td><td class=\"text\">{}</td></tr>\n",
        escape_html(method.policy), method.density, cell(method.recall, 1, 4),
        cell(method.perplexity, 1, 3), cell(method.retrieval, 100, 0), cell(method.ruler, 100, 1),
        cell(method.longbench, 100, 1),
        std::string(note_on(method.parsed.source)) +
            (method.parsed.dense_rows > 0 ? "; the last rows read everything" : ""));
  }
  return html + "</table>\n";
}

// Without random choices, whose perplexity would hide the spread of the others.
std::string spread_html(const std::vector<Method>& methods) {
  std::vector<double> perplexities, retrievals;
  for (const Method& method : methods) {
    if (!is_plain(method) || method.parsed.source == PolicySource::kRandom) continue;
    if (method.perplexity) perplexities.push_back(*method.perplexity);
    if (method.retrieval) retrievals.push_back(*method.retrieval);
  }
  if (perplexities.size() < 2 || retrievals.size() < 2) return "";
  const auto [best, worst] = std::minmax_element(perplexities.begin(), perplexities.end());
  const auto [least, most] = std::minmax_element(retrievals.begin(), retrievals.end());
  std::string text = fmt::format(
      "<p>Between the methods that choose, perplexity differs by {:.1f} % and retrieval by {:.0f} "
      "points.",
      (*worst / *best - 1) * 100, (*most - *least) * 100);
  if (*most - *least > *worst / *best - 1) {
    text +=
        " Most predictions follow from the text right before them and from the first tokens, which "
        "every method keeps; a needle stands in one block of many and is asked for once, so only "
        "a method that finds single keys finds it.";
  }
  return text + "</p>\n";
}

// A pair where recall and retrieval disagree says what recall does not measure.
std::string recall_html(const std::vector<Method>& methods) {
  const Method *more = nullptr, *fewer = nullptr;
  double gap = 0;
  for (const Method& a : methods) {
    for (const Method& b : methods) {
      if (!is_plain(a) || !is_plain(b) || !a.recall || !b.recall || !a.retrieval || !b.retrieval)
        continue;
      if (*a.recall <= *b.recall || *b.retrieval - *a.retrieval <= gap) continue;
      gap = *b.retrieval - *a.retrieval;
      more = &a;
      fewer = &b;
    }
  }
  if (more == nullptr) return "";
  return fmt::format(
      "<p>Recall is a mean over rows, and most rows look nearby: {} keeps more of the attention "
      "({:.4f}) than {} ({:.4f}) and retrieves {:.0f} % against {:.0f} %. What counts for a needle "
      "is the one block that few rows and heads look at.</p>\n",
      escape_html(more->policy), *more->recall, escape_html(fewer->policy), *fewer->recall,
      *more->retrieval * 100, *fewer->retrieval * 100);
}

// Retrieval of policies that were measured with and without dense last rows.
std::string dense_rows_html(const std::vector<Method>& methods) {
  std::string rows;
  for (const Method& with : methods) {
    if (with.parsed.dense_rows == 0 || !with.retrieval) continue;
    SelectionPolicy other = with.parsed;
    other.dense_rows = 0;
    for (const Method& without : methods) {
      if (without.parsed != other || without.gates != with.gates || !without.retrieval) continue;
      rows += fmt::format(
          "<tr><td class=\"text\">{}</td><td>{}</td><td>{:.0f}</td><td>{:.0f}</td></tr>\n",
          escape_html(without.policy), with.parsed.dense_rows, *without.retrieval * 100,
          *with.retrieval * 100);
    }
  }
  if (rows.empty()) {
    return "<p class=\"small\">No policy was measured for retrieval both with and without dense "
           "last rows (dense_rows=2).</p>\n";
  }
  return "<h3>Retrieval with and without dense last rows</h3>\n<p>The question stands in the last "
         "rows. Where these are dense it reads the whole text, whatever the policy chose "
         "before: retrieval then says little about the policy, and the strict figure is the one "
         "without.</p>\n<table>\n<tr><th class=\"text\">policy</th><th>dense rows</th>"
         "<th>without, %</th><th>with, %</th></tr>\n" +
         rows + "</table>\n";
}

// Generated answers are a milder form of dense last rows.
std::string generation_html(const std::vector<EvalSummary>& summaries) {
  const bool has_generation =
      std::any_of(summaries.begin(), summaries.end(), [](const EvalSummary& summary) {
        return summary.task.starts_with("ruler/") || summary.task.starts_with("longbench/");
      });
  if (!has_generation) return "";
  return "<p>RULER and LongBench generate their answers, and tokens after the prompt attend "
         "densely: a policy decides what the prompt's tokens know and which token comes first; the "
         "others read the whole text. Where the first token is easily right, such as a number's "
         "first digits after its name, these scores tell methods apart less than retrieval by "
         "forced answers does.</p>\n";
}

}  // namespace

std::string method_order_html(const std::vector<EvalSummary>& summaries, double density) {
  std::int64_t context = 0;
  for (const EvalSummary& summary : summaries) context = std::max(context, summary.context);
  const std::vector<Method> all = methods_of(summaries, context);
  const std::vector<Method> methods = nearest_to(all, density);
  if (methods.size() < 2) return "";
  return fmt::format(
             "<h2>Order of the methods</h2>\n<p class=\"small\">At {} tokens, each method at the "
             "density nearest to {}. Best retrieval first, then perplexity.</p>\n",
             context, density) +
         table_html(methods) + spread_html(methods) + recall_html(methods) + dense_rows_html(all) +
         generation_html(summaries);
}

}  // namespace seer
