// The HTML report and what goes into it.
#include "seer/report.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "eval/block_map_picture.h"
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
