// Result files: round trip, resumption, and what is refused.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "sample_files.h"
#include "seer/eval_results.h"
#include "support/model_files.h"

namespace seer {
namespace {

using test::made_up_sample;

const EvalConfigurations kConfigurations = {{"ppl", R"({"model":"m","seed":0})"}};

TEST(EvalSample, RoundTrip) {
  EvalSample sample = made_up_sample("gate:density=0.1", 8192, 3, 0.1, 2.5);
  sample.gates = "books@01234567";
  const EvalSample back = EvalSample::parse(sample.to_json(), "here");
  EXPECT_EQ(back.to_json(), sample.to_json());
  EXPECT_TRUE(back.is_same(sample));
  EXPECT_EQ(back.nll, sample.nll);
  EXPECT_FALSE(back.score.has_value());

  sample = test::made_up_retrieval("dense", 64, 0, true);
  sample.recall.reset();
  sample.depth = 0.25;
  const EvalSample retrieval = EvalSample::parse(sample.to_json(), "here");
  EXPECT_EQ(retrieval.to_json(), sample.to_json());
  EXPECT_EQ(retrieval.score, 1.0);
  EXPECT_EQ(retrieval.depth, 0.25);

  sample = test::made_up_answer("ruler/vt", "dense", 1, 0.5);
  sample.subset = "0-4k";
  sample.peak_memory = 123;
  const EvalSample answer = EvalSample::parse(sample.to_json(), "here");
  EXPECT_EQ(answer.to_json(), sample.to_json());
  EXPECT_EQ(answer.prediction, sample.prediction);
  EXPECT_EQ(answer.references, sample.references);
  EXPECT_EQ(answer.generated_tokens, 5);
  EXPECT_EQ(answer.peak_memory, 123U);
  EXPECT_FALSE(EvalSample::parse(sample.to_json(), "here").is_same(back));
}

// As Seer wrote them before there were metrics.
TEST(EvalSample, EarlierFiles) {
  const std::string end =
      R"("density":1.0,"seconds":2.0,"selection_seconds":0.0,"attention_seconds":0.0,)"
      R"("prefill_tokens_per_second":32.0,"layer_density":[1.0],"configuration":{"model":"m"},)"
      R"("origin":{"version":"0.1","commit":"c","cpu":"x","isa":"avx2","torch":"2","threads":2,)"
      R"("started":"s"}})";
  const EvalSample niah = EvalSample::parse(
      R"({"task":"niah","policy":"dense","gates":"","context":64,"sample":3,"retrieved":true,)"
      R"("answer_tokens":1.0,)" +
          end,
      "old");
  EXPECT_EQ(niah.metric, "retrieval");
  EXPECT_EQ(niah.score, 1.0);
  EXPECT_EQ(niah.prompt_tokens, 64);
  const EvalSample ppl = EvalSample::parse(
      R"({"task":"ppl","policy":"dense","gates":"","context":64,"sample":3,"nll":2.5,)" + end,
      "old");
  EXPECT_EQ(ppl.metric, "perplexity");
  EXPECT_EQ(ppl.tokens_per_second(), 32);
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
  EXPECT_NE(
      replaced("\"task\":\"ppl\",\"metric\"", "\"task\":\"pq\",\"m\"").find("metric is missing"),
      std::string::npos);
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
    EvalFile file(path, /*resume=*/false, kConfigurations);
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
    EvalFile file(path, /*resume=*/true, kConfigurations);
    EXPECT_EQ(file.samples().size(), 2U);
    EXPECT_EQ(test::read_bytes(path), whole);
    file.append(made_up_sample("dense", 64, 2, 1, 1));
  }
  EXPECT_EQ(test::read_bytes(path), whole + made_up_sample("dense", 64, 2, 1, 1).to_json() + "\n");
}

TEST(EvalFile, ResumeWithoutAFileBegins) {
  const test::TemporaryFolder folder;
  EvalFile file(folder.path() / "new.jsonl", /*resume=*/true, kConfigurations);
  EXPECT_TRUE(file.samples().empty());
}

TEST(EvalFile, Refusals) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "results.jsonl";
  folder.write("results.jsonl", made_up_sample("dense", 64, 0, 1, 1).to_json() + "\n");
  const auto refusal = [&](bool resume, const EvalConfigurations& configurations,
                           const std::filesystem::path& file) {
    return test::runtime_error_of([&] { EvalFile(file, resume, configurations); });
  };
  EXPECT_NE(refusal(false, kConfigurations, path).find("--resume"), std::string::npos);
  EXPECT_EQ(refusal(true, kConfigurations, path), "");
  const std::string other = refusal(true, {{"ppl", R"({"model":"m","seed":5})"}}, path);
  EXPECT_NE(other.find("was made with seed 0, now it is 5"), std::string::npos) << other;
  EXPECT_NE(refusal(true, kConfigurations, folder.path()).find("folder"), std::string::npos);
  EXPECT_NE(
      refusal(false, kConfigurations, folder.path() / "no" / "file").find("opened for writing"),
      std::string::npos);
  // The order of settings is no difference; one that is gone is.
  EXPECT_EQ(refusal(true, {{"ppl", R"({"seed":0,"model":"m"})"}}, path), "");
  const std::string gone = refusal(true, {{"ppl", R"({"model":"m"})"}}, path);
  EXPECT_NE(gone.find("seed 0, now it is nothing"), std::string::npos) << gone;
  // Another task may have other settings.
  EXPECT_EQ(refusal(true, {{"niah", R"({"model":"m","seed":5})"}}, path), "");
  {
    const EvalFile writer(path, true, kConfigurations);
    const std::string second = refusal(true, kConfigurations, path);
    EXPECT_NE(second.find("another program is writing it"), std::string::npos) << second;
  }
  folder.write("results.jsonl", "text\n");
  EXPECT_NE(refusal(true, kConfigurations, path).find("results.jsonl:1"), std::string::npos);
  EXPECT_EQ(test::read_bytes(path), "text\n");
  folder.write("results.jsonl", "");
  EXPECT_NE(test::runtime_error_of([&] { read_eval_file(path); }).find("holds no samples"),
            std::string::npos);
}

}  // namespace
}  // namespace seer
