#include "seer/report.h"

#include <ATen/TensorOperators.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "base/whole_file.h"
#include "eval/block_map_picture.h"
#include "eval/chart.h"
#include "eval/method_order.h"
#include "eval/report_charts.h"

namespace seer {
namespace {

constexpr std::string_view kStyle = R"css(
body { font: 15px/1.5 sans-serif; color: #222; background: #fff; margin: 0 auto; max-width: 1200px; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 34px 0 8px; border-bottom: 1px solid #ccc; }
h3 { font-size: 15px; margin: 20px 0 6px; } p { margin: 6px 0; max-width: 900px; } .small { color: #555; font-size: 13px; overflow-wrap: anywhere; }
.row { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 16px 24px; } .row svg { max-width: 100%; height: auto; }
.figure { border: 1px solid #ccc; border-radius: 6px; padding: 10px 18px; min-width: 200px; }
.figure b { display: block; font-size: 26px; } .figure span { color: #555; font-size: 13px; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: 3px 10px; text-align: right; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #888; } td.text, th.text { text-align: left; }
.map { margin: 0; } .map img { width: 256px; height: 256px; image-rendering: pixelated; border: 1px solid #999; }
.map figcaption { font-size: 13px; text-align: center; }
svg, .map, .figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
@media print { body { padding: 0; max-width: none; font-size: 12px; }
  .row svg { width: 48%; } .map img { width: 160px; height: 160px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)css";

std::string join(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// "dtype bfloat16, prefill_chunk 2048, ..."
std::string settings_text(const std::string& configuration) {
  const auto settings = nlohmann::ordered_json::parse(configuration);
  std::string text;
  for (const auto& [key, value] : settings.items()) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key,
                        value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

// What the results were got with.
std::string origin_html(const std::vector<EvalSample>& samples) {
  std::set<std::string> programs, machines, gates;
  for (const EvalSample& sample : samples) {
    programs.insert(fmt::format("seer {} ({})", sample.origin.version, sample.origin.commit));
    machines.insert(fmt::format("{}, {} threads, {}", sample.origin.cpu, sample.origin.threads,
                                sample.origin.isa));
    if (!sample.gates.empty()) gates.insert(sample.gates);
  }
  if (samples.empty()) return "";
  std::string text = join(programs) + "; " + join(machines);
  if (!gates.empty()) text += "; gates " + join(gates);
  return fmt::format("<p class=\"small\">{}</p>\n<p class=\"small\">Settings: {}</p>\n",
                     escape_html(text), escape_html(settings_text(samples.front().configuration)));
}

// The policy that the headline is about: a gate if there is one, nearest to the density, at the longest context.
const EvalSummary* headline_of(const std::vector<EvalSummary>& summaries, std::string_view task) {
  const EvalSummary* best = nullptr;
  const auto rank = [](const EvalSummary& summary) {
    return std::tuple(!summary.gates.empty(), summary.context,
                      -std::abs(std::log(summary.density / kReportDensity)));
  };
  for (const EvalSummary& summary : summaries) {
    if (summary.task != task || summary.policy == "dense") continue;
    if (best == nullptr || rank(summary) > rank(*best)) best = &summary;
  }
  return best;
}

const EvalSummary* dense_of(const std::vector<EvalSummary>& summaries, const EvalSummary& other) {
  for (const EvalSummary& summary : summaries) {
    if (summary.task == other.task && summary.context == other.context &&
        summary.policy == "dense") {
      return &summary;
    }
  }
  return nullptr;
}

std::string figure_html(const std::string& value, const std::string& what,
                        const EvalSummary& summary) {
  return fmt::format(
      "<div class=\"figure\"><b>{}</b>{}<br><span>{}, {} tokens, density {:.3f}</span></div>\n",
      value, what, escape_html(summary.policy), summary.context, summary.density);
}

std::string headline_html(const std::vector<EvalSummary>& summaries) {
  std::string html;
  const EvalSummary* fastest = nullptr;
  if (const EvalSummary* best = headline_of(summaries, "ppl")) {
    const EvalSummary* dense = dense_of(summaries, *best);
    html += figure_html(
        fmt::format("{:.2f}", *best->score),
        dense != nullptr ? fmt::format("perplexity; dense {:.2f}", *dense->score) : "perplexity",
        *best);
    fastest = best;
  }
  if (const EvalSummary* best = headline_of(summaries, "niah")) {
    const EvalSummary* dense = dense_of(summaries, *best);
    html +=
        figure_html(fmt::format("{:.0f} %", *best->score * 100),
                    dense != nullptr ? fmt::format("retrieval; dense {:.0f} %", *dense->score * 100)
                                     : "retrieval",
                    *best);
    if (fastest == nullptr || best->context > fastest->context) fastest = best;
  }
  if (fastest != nullptr && fastest->speedup) {
    html += figure_html(fmt::format("{:.2f}x", *fastest->speedup),
                        fmt::format("speed of prefill against dense, {:.2f} s", fastest->seconds),
                        *fastest);
  }
  return html.empty() ? "" : "<div class=\"row\">\n" + html + "</div>\n";
}

std::string section_html(const char* title, const char* text, const Figures& figures) {
  if (figures.empty()) return "";
  std::string html =
      fmt::format("<h2>{}</h2>\n<p class=\"small\">{}</p>\n<div class=\"row\">\n", title, text);
  for (const Figure& figure : figures) html += figure.svg;
  return html + "</div>\n";
}

std::string picture_html(const at::Tensor& map, const std::string& caption) {
  return fmt::format(
      "<figure class=\"map\"><img src=\"{}\" alt=\"{}\"><figcaption>{}</figcaption></figure>\n",
      block_map_data_url(map), escape_html(caption), escape_html(caption));
}

// The colours of probabilities with their values.
std::string scale_html() {
  constexpr int kSteps = 64;
  constexpr double kWidth = 256;
  std::string svg =
      "<svg width=\"300\" height=\"38\" font-family=\"sans-serif\" font-size=\"11\" "
      "fill=\"#222\" role=\"img\"><title>scale of colours</title>";
  for (int i = 0; i < kSteps; ++i) {
    const double share = (i + 0.5) / kSteps;
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"2\" width=\"{:.1f}\" height=\"14\" fill=\"{}\"/>",
                       20 + kWidth * i / kSteps, kWidth / kSteps + 0.5,
                       probability_colour(std::pow(kPictureFloor, 1 - share)));
  }
  for (double tick = kPictureFloor; tick < 2; tick *= 10) {
    const double x = 20 + kWidth * (1 - std::log(tick) / std::log(kPictureFloor));
    svg += fmt::format("<text x=\"{:.1f}\" y=\"32\" text-anchor=\"middle\">{:.4g}</text>", x, tick);
  }
  return svg + "</svg>\n";
}

std::string maps_html(const std::vector<BlockMaps>& maps) {
  if (maps.empty()) return "";
  const BlockMaps& first = maps.front();
  std::string html = fmt::format(
      "<h2>Block maps</h2>\n<p class=\"small\">A prompt of {} tokens under {}; a pixel is a block "
      "of "
      "{} queries (down) by {} keys (to the right), grey what no query sees. True and predicted "
      "maps "
      "have rows that sum to 1: the largest attention probability inside each block, against what "
      "the "
      "gate expects. &quot;Missed&quot; is the true map where blocks were not computed.</p>\n{}",
      first.tokens, escape_html(first.policy), first.block_size, first.block_size, scale_html());
  for (const BlockMaps& map : maps) {
    html += fmt::format(
        "<h3>Layer {}, head {}: {:.1f} % of the true map inside {:.1f} % of the blocks</h3>\n"
        "<div class=\"row\">\n",
        map.layer, map.head, map.kept_share * 100, map.density * 100);
    html += picture_html(map.truth, "true map");
    if (map.predicted.defined()) html += picture_html(map.predicted, "predicted by the gate");
    html += picture_html(map.mask, "computed blocks");
    html += picture_html(map.truth * map.mask.logical_not(), "missed");
    html += "</div>\n";
  }
  return html;
}

std::string number(std::optional<double> value, int digits, double scale = 1) {
  return value ? fmt::format("{:.{}f}", *value * scale, digits) : "";
}

// Perplexity as it is, other scores in per cent; with the standard error.
std::string score_text(const EvalSummary& summary) {
  if (!summary.score) return "";
  const bool is_perplexity = summary.metric == "perplexity";
  std::string text = number(summary.score, is_perplexity ? 3 : 1, is_perplexity ? 1 : 100);
  if (summary.standard_error) {
    text += " &plusmn; " +
            number(summary.standard_error, is_perplexity ? 2 : 1, is_perplexity ? 1 : 100);
  }
  return is_perplexity ? text : text + " %";
}

std::string table_html(const char* title, const std::vector<EvalSummary>& summaries) {
  if (summaries.empty()) return "";
  std::string html = fmt::format(
      "<h2>{}</h2>\n<table>\n<tr><th class=\"text\">task</th><th>context</th>"
      "<th class=\"text\">policy</th><th>samples</th><th>density</th>"
      "<th class=\"text\">metric</th><th>score</th><th>answer tokens, %</th><th>recall</th>"
      "<th>prefill, s</th><th>speed against dense</th><th>memory, MiB</th></tr>\n",
      title);
  for (const EvalSummary& summary : summaries) {
    html += fmt::format(
        "<tr><td class=\"text\">{}</td><td>{}</td><td class=\"text\">{}</td><td>{}</td>"
        "<td>{:.4f}</td><td class=\"text\">{}</td><td>{}</td><td>{}</td><td>{}</td>"
        "<td>{:.3f}</td><td>{}</td><td>{}</td></tr>\n",
        escape_html(summary.task + (summary.subset.empty() ? "" : " " + summary.subset)),
        summary.context,
        escape_html(summary.policy + (summary.gates.empty() ? "" : " (" + summary.gates + ")")),
        summary.samples, summary.density, escape_html(summary.metric), score_text(summary),
        number(summary.answer_tokens, 1, 100), number(summary.recall, 4), summary.seconds,
        number(summary.speedup, 2),
        summary.peak_memory > 0
            ? fmt::format("{:.0f}", static_cast<double>(summary.peak_memory) / (1 << 20))
            : "");
  }
  return html + "</table>\n";
}

}  // namespace

std::string html_report(const ReportInput& input) {
  const std::vector<EvalSummary> summaries = summarise_with_means(input.samples);
  const std::string title = escape_html(input.title);
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>\n<style>{}</style>"
      "</head><body>\n<h1>{}</h1>\n",
      title, kStyle, title);
  html += origin_html(input.samples) + headline_html(summaries);
  html +=
      section_html("Quality against density",
                   "Further left is less work. Perplexity: lower is better. Retrieval: numbers "
                   "that the text states once, asked for at its end. Recall: the share of the "
                   "true attention that falls into computed blocks. Points beyond an axis stand "
                   "at its edge with their value.",
                   quality_charts(summaries));
  html += method_order_html(summaries, kReportDensity);
  html += section_html("Depth and length",
                       "Where in the text the needle stands: 0 is its begin. Each cell is a share "
                       "of samples in per cent; darker is better.",
                       depth_maps(depth_scores(input.samples)));
  html += section_html("Time against density",
                       "Prefill of a whole sample, without the logits; policies took turns on the "
                       "same samples.",
                       time_charts(summaries));
  html += section_html(
      "Layers and heads",
      "Of each kind of policy the one whose density is nearest to 0.1. Rules that give "
      "every row as many blocks give every head the same density: such grids are left "
      "out.",
      layer_charts(summaries, kReportDensity));
  html += section_html("Training", "The gates learn the model's own attention maps.",
                       training_charts(input.training));
  html += maps_html(input.maps) + table_html("All results", summaries) +
          table_html("Subsets", summarise(input.samples, SummaryParts::kSubsets));
  return html + "</body></html>\n";
}

void write_report(const ReportInput& input, const std::filesystem::path& file) {
  write_whole_file(file.string(), html_report(input));
}

}  // namespace seer
