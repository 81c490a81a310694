// Result files: round trip, resumption, and what is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "sample_files.h"
#include "seer/eval.h"
#include "support/model_files.h"

namespace seer {
namespace {

using test::made_up_sample;

const std::string kConfiguration = R"({"model":"m","seed":0})";

TEST(EvalSample, RoundTrip) {
  EvalSample sample = made_up_sample("gate:density=0.1", 8192, 3, 0.1, 2.5);
  sample.gates = "books@01234567";
  const EvalSample back = EvalSample::parse(sample.to_json(), "here");
  EXPECT_EQ(back.to_json(), sample.to_json());
  EXPECT_TRUE(back.is_same(sample));
  EXPECT_EQ(back.nll, sample.nll);
  EXPECT_FALSE(back.retrieved.has_value());

  sample = made_up_sample("dense", 64, 0, 1, 1);
  sample.task = EvalTask::kRetrieval;
  sample.nll.reset();
  sample.recall.reset();
  sample.retrieved = true;
  sample.answer_tokens = 0.75;
  EXPECT_EQ(EvalSample::parse(sample.to_json(), "here").to_json(), sample.to_json());
  EXPECT_FALSE(EvalSample::parse(sample.to_json(), "here").is_same(back));
}

TEST(EvalSample, Refusals) {
  const std::string good = made_up_sample("dense", 64, 0, 1, 1).to_json();
  const auto refusal = [](const std::string& line) {
    return test::runtime_error_of([&] { EvalSample::parse(line, "f:3"); });
  };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string line = good;
    line.replace(line.find(from), from.size(), to);
    return refusal(line);
  };
  EXPECT_EQ(refusal(good), "");
  EXPECT_NE(refusal("[1]").find("f:3: expected an object"), std::string::npos);
  EXPECT_NE(refusal("{\"a\": 1}").find("task is missing"), std::string::npos);
  EXPECT_NE(replaced("\"ppl\"", "\"pq\"").find("expected ppl, niah or recall"), std::string::npos);
  EXPECT_NE(replaced("\"context\":64", "\"context\":-1").find("context: expected an integer"),
            std::string::npos);
  EXPECT_NE(replaced("\"density\":1.0", "\"density\":\"x\"").find("density: expected a number"),
            std::string::npos);
  EXPECT_NE(refusal(good.substr(0, good.size() / 2)).find("f:3"), std::string::npos);
}

TEST(EvalFile, AppendsAndResumes) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "results.jsonl";
  {
    EvalFile file(path, /*resume=*/false, EvalTask::kPerplexity, kConfiguration);
    EXPECT_TRUE(file.samples().empty());
    file.append(made_up_sample("dense", 64, 0, 1, 1));
    file.append(made_up_sample("dense", 64, 1, 1, 1));
  }
  const std::string whole = test::read_bytes(path);
  EXPECT_EQ(read_eval_file(path).size(), 2U);
  // Killed in the middle of a line.
  folder.write("results.jsonl", whole + whole.substr(0, 40));
  EXPECT_EQ(read_eval_file(path).size(), 2U);
  {
    EvalFile file(path, /*resume=*/true, EvalTask::kPerplexity, kConfiguration);
    EXPECT_EQ(file.samples().size(), 2U);
    EXPECT_EQ(test::read_bytes(path), whole);
    file.append(made_up_sample("dense", 64, 2, 1, 1));
  }
  EXPECT_EQ(test::read_bytes(path), whole + made_up_sample("dense", 64, 2, 1, 1).to_json() + "\n");
}

TEST(EvalFile, ResumeWithoutAFileBegins) {
  const test::TemporaryFolder folder;
  EvalFile file(folder.path() / "new.jsonl", /*resume=*/true, EvalTask::kPerplexity,
                kConfiguration);
  EXPECT_TRUE(file.samples().empty());
}

TEST(EvalFile, Refusals) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "results.jsonl";
  folder.write("results.jsonl", made_up_sample("dense", 64, 0, 1, 1).to_json() + "\n");
  const auto refusal = [&](bool resume, const std::string& configuration,
                           const std::filesystem::path& file) {
    return test::runtime_error_of(
        [&] { EvalFile(file, resume, EvalTask::kPerplexity, configuration); });
  };
  EXPECT_NE(refusal(false, kConfiguration, path).find("--resume"), std::string::npos);
  EXPECT_EQ(refusal(true, kConfiguration, path), "");
  const std::string other = refusal(true, R"({"model":"m","seed":5})", path);
  EXPECT_NE(other.find("was made with seed 0, now it is 5"), std::string::npos) << other;
  EXPECT_NE(refusal(true, kConfiguration, folder.path()).find("folder"), std::string::npos);
  EXPECT_NE(
      refusal(false, kConfiguration, folder.path() / "no" / "file").find("opened for writing"),
      std::string::npos);
  // Another task may have other settings.
  EXPECT_EQ(test::runtime_error_of(
                [&] { EvalFile(path, true, EvalTask::kRetrieval, R"({"model":"m","seed":5})"); }),
            "");
  folder.write("results.jsonl", "text\n");
  EXPECT_NE(refusal(true, kConfiguration, path).find("results.jsonl:1"), std::string::npos);
  EXPECT_EQ(test::read_bytes(path), "text\n");
  folder.write("results.jsonl", "");
  EXPECT_NE(test::runtime_error_of([&] { read_eval_file(path); }).find("holds no samples"),
            std::string::npos);
}

}  // namespace
}  // namespace seer
