// The HTML report and what goes into it.
#include "seer/report.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "eval/block_map_picture.h"
#include "eval/figure.h"
#include "sample_files.h"
#include "support/model_files.h"

namespace seer {
namespace {

using test::made_up_sample;

BlockMaps made_up_maps(std::int64_t blocks) {
  BlockMaps maps;
  maps.tokens = blocks * 64;
  maps.policy = "gate:ratio=0.1";
  maps.truth = at::rand({blocks, blocks}).tril();
  maps.mask = maps.truth > 0.5;
  return maps;
}

TEST(Report, IsOneFileThatLoadsNothing) {
  ReportInput input;
  input.title = "<b>title</b>";
  for (const std::int64_t index : {0, 1}) {
    input.samples.push_back(made_up_sample("dense", 64, index, 1, 2));
    input.samples.push_back(made_up_sample("streaming:ratio=0.1", 64, index, 0.1, 1));
    input.samples.push_back(made_up_sample("streaming:ratio=0.2", 64, index, 0.2, 1));
  }
  input.training = {{"log", {{.step = 1, .loss = 2, .layer_recall = {0.5, 0.7}}}}};
  input.maps = {made_up_maps(5)};
  const std::string html = html_report(input);
  for (const char* const word :
       {"<!DOCTYPE html>", "&lt;b&gt;title", "Perplexity, 64 tokens", "Prefill of 64 tokens",
        "streaming by ratio", "A &lt;cpu&gt;", "Distillation: loss", "data:image/png;base64,",
        "true map", "All results", "2.00", "</html>"}) {
    EXPECT_NE(html.find(word), std::string::npos) << word;
  }
  for (const char* const word : {"<script", "href=", "src=\"http", "@import", "url(", "nan"}) {
    EXPECT_EQ(html.find(word), std::string::npos) << word;
  }
  const test::TemporaryFolder folder;
  write_report(input, folder.path() / "report.html");
  EXPECT_EQ(test::read_bytes(folder.path() / "report.html"), html);
  EXPECT_NE(test::runtime_error_of([&] { write_report(input, folder.path() / "no" / "r.html"); }),
            "");
}

// One sample each of perplexity and retrieval.
void add_policy(ReportInput& input, const std::string& policy, double nll, double recall,
                bool retrieved) {
  const double density = policy == "dense" ? 1 : 0.1;
  EvalSample text = made_up_sample(policy, 64, 0, density, 1);
  text.nll = nll;
  text.recall = recall;
  EvalSample document = test::made_up_retrieval(policy, 64, 0, retrieved);
  document.recall.reset();
  document.depth = 0.5;
  input.samples.push_back(text);
  input.samples.push_back(document);
}

TEST(Report, OrderOfMethodsIsExplained) {
  ReportInput input;
  add_policy(input, "dense", 4.0, 1, true);
  add_policy(input, "streaming:ratio=0.1", 4.02, 0.86, false);
  add_policy(input, "oracle:ratio=0.1", 4.01, 0.85, true);
  std::string html = html_report(input);
  const std::size_t section = html.find("Order of the methods");
  ASSERT_NE(section, std::string::npos);
  // Best retrieval first.
  EXPECT_LT(html.find("oracle:ratio=0.1", section), html.find("streaming:ratio=0.1", section));
  EXPECT_NE(html.find("perplexity differs by 1.0 % and retrieval by 100 points"),
            std::string::npos);
  EXPECT_NE(html.find("streaming:ratio=0.1 keeps more of the attention (0.8600) than "
                      "oracle:ratio=0.1 (0.8500) and retrieves 0 % against 100 %"),
            std::string::npos);
  EXPECT_NE(html.find("No policy was measured for retrieval both with and without dense last rows"),
            std::string::npos);

  add_policy(input, "streaming:ratio=0.1,dense_rows=2", 4.02, 0.87, true);
  html = html_report(input);
  EXPECT_NE(
      html.find("<td class=\"text\">streaming:ratio=0.1</td><td>2</td><td>0</td><td>100</td>"),
      std::string::npos);
  EXPECT_NE(html.find("Depth and length"), std::string::npos);
  EXPECT_NE(html.find("Density, %: streaming:ratio=0.1"), std::string::npos);
  // A policy far from the density is not in the order.
  add_policy(input, "meanpool:ratio=0.5", 4, 0.99, true);
  input.samples[input.samples.size() - 1].density = 0.5;
  input.samples[input.samples.size() - 2].density = 0.5;
  html = html_report(input);
  const std::size_t order = html.find("Order of the methods");
  EXPECT_GT(html.find("meanpool:ratio=0.5", order), html.find("Depth and length"));
}

TEST(Figures, AreFilesWithTheirValues) {
  ReportInput input;
  add_policy(input, "dense", 4.0, 1, true);
  add_policy(input, "streaming:ratio=0.1", 4.02, 0.86, false);
  input.maps = {made_up_maps(5)};
  const test::TemporaryFolder folder;
  const std::filesystem::path out = folder.path() / "new" / "figures";
  const std::vector<std::string> files = write_figures(input, out, /*png=*/false);
  for (const std::string& file : files) EXPECT_TRUE(std::filesystem::exists(out / file)) << file;
  const auto has = [&](const char* file) {
    return std::find(files.begin(), files.end(), file) != files.end();
  };
  for (const char* const file :
       {"perplexity-64-tokens.svg", "retrieval-64-tokens.csv", "summary.csv",
        "block-map-layer-0-head-0-true.png", "block-map-layer-0-head-0-missed.png",
        "niah-dense.svg", "niah-streaming-ratio-0-1.csv"}) {
    EXPECT_TRUE(has(file)) << file;
  }
  EXPECT_EQ(
      test::read_bytes(out / "retrieval-64-tokens.csv"),
      "series,density: share of the visible blocks that are computed,documents with the right "
      "answer\ndense,,1\nstreaming by ratio,0.1,0\n");
  EXPECT_TRUE(test::read_bytes(out / "block-map-layer-0-head-0-true.png").starts_with("\x89PNG"));
  const std::string svg = test::read_bytes(out / "perplexity-64-tokens.svg");
  EXPECT_TRUE(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  folder.write("file", "");
  EXPECT_NE(test::runtime_error_of([&] {
              write_figures(input, folder.path() / "file", false);
            }).find("file: cannot be made"),
            std::string::npos);
}

TEST(HeatMap, CellsHaveNumbersAndEverDarkerColours) {
  HeatMap map{.title = "A & B",
              .row_label = "depth",
              .column_label = "length",
              .rows = {"0", "50"},
              .columns = {"64"},
              .values = {{0.25}, {std::nullopt}}};
  const std::string svg = heat_map_svg(map);
  EXPECT_NE(svg.find("A &amp; B"), std::string::npos);
  EXPECT_NE(svg.find(">25</text>"), std::string::npos);
  EXPECT_EQ(heat_map_figure(map).csv, "depth,length,value\n0,64,0.25\n50,64,\n");
  EXPECT_EQ(heat_map_figure(map).name, "a-b");
  map.values = {{std::nullopt}, {std::nullopt}};
  EXPECT_EQ(heat_map_svg(map), "");
  double before = 1e9;
  for (int i = 0; i <= 20; ++i) {
    const std::string colour = share_colour(i / 20.0);
    const auto channel = [&](std::size_t at) {
      return static_cast<double>(std::stoi(colour.substr(at, 2), nullptr, 16));
    };
    const double light = 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
    EXPECT_LT(light, before) << colour;
    before = light;
  }
}

TEST(Report, LeavesOutWhatThereIsNot) {
  const std::string html = html_report({});
  EXPECT_EQ(html.find("<h2>"), std::string::npos);
  ReportInput input;
  input.training = {{"log", {{.step = 1, .loss = 2, .layer_recall = {}}}}};
  EXPECT_EQ(html_report(input).find("All results"), std::string::npos);
}

TEST(BlockMapPicture, Pictures) {
  for (const std::int64_t blocks : {1, 5, 257, 600}) {
    const std::string url = block_map_data_url(at::rand({blocks, blocks}));
    // The first bytes of every PNG.
    EXPECT_TRUE(url.starts_with("data:image/png;base64,iVBORw0KGgo")) << blocks;
  }
  EXPECT_NE(block_map_data_url(at::ones({4, 4}, at::kBool)),
            block_map_data_url(at::zeros({4, 4}, at::kBool)));
  EXPECT_EQ(probability_colour(0), "#ffffff");
  EXPECT_EQ(probability_colour(kPictureFloor), "#ffffff");
  EXPECT_EQ(probability_colour(1), probability_colour(2));
}

TEST(TrainingLog, ReadsAndRefuses) {
  const test::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "log.jsonl";
  folder.write("log.jsonl",
               "{\"step\": 1, \"loss\": 2.5, \"lr\": 0.1, \"seconds\": 1}\n"
               "{\"step\": 2, \"loss\": 9, \"layer_recall\": [0.5]}\n"
               "{\"step\": 2, \"loss\": 1.5, \"layer_recall\": [0.5, 0.25]}\n{\"step\": 3, \"lo");
  const std::vector<TrainingStep> steps = read_training_log(file);
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].loss, 2.5);
  EXPECT_EQ(steps[1].loss, 1.5);
  EXPECT_EQ(steps[1].layer_recall, (std::vector<double>{0.5, 0.25}));
  const auto refusal = [&](const char* text) {
    folder.write("log.jsonl", text);
    return test::runtime_error_of([&] { read_training_log(file); });
  };
  EXPECT_NE(refusal("").find("holds no steps"), std::string::npos);
  EXPECT_NE(refusal("{\"step\": 1}\n").find("log.jsonl:1: expected a number in the field loss"),
            std::string::npos);
  EXPECT_NE(refusal("[1]\n").find("an object"), std::string::npos);
  EXPECT_NE(refusal("{\"step\": 1, \"loss\": 1, \"layer_recall\": [\"a\"]}\n").find("layer_recall"),
            std::string::npos);
  EXPECT_NE(refusal("{\"step\": 1,\n").find("log.jsonl:1"), std::string::npos);
}

}  // namespace
}  // namespace seer
