// The flags of LongBench's tasks, and the tasks that they make.
#include "cli/longbench_flags.h"

#include <gtest/gtest.h>

#include "ruler_samples.h"

namespace seer::cli {
namespace {

using namespace test;

class LongBenchFlagsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    for (const char* const name : {"qasper", "lcc", "qasper_e"}) {
      const Json row = {{"input", "?"},
                        {"context", "The name is Wren."},
                        {"answers", Json::array({"Wren"})},
                        {"length", 5}};
      std::ofstream(folder_ / (std::string(name) + ".jsonl")) << row << '\n' << row << '\n';
    }
  }

  // Names of the tasks that these arguments make.
  std::vector<std::string> names(std::vector<std::string> arguments) {
    flags_ = {};
    CLI::App app;
    add_longbench_flags(app, flags_);
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
    tasks_ =
        longbench_tasks(flags_, kSource / "models" / "books-19m-32k", kBos, bundled_tokenizer());
    std::vector<std::string> result;
    for (const auto& task : tasks_) result.push_back(task->name());
    return result;
  }

  std::string refused(const std::vector<std::string>& arguments) {
    return message_of<std::exception>([&] { names(arguments); });
  }

  std::filesystem::path folder_ = temporary_folder() / "longbench-flags";
  LongBenchFlags flags_;
  EvalTasks tasks_;
};

TEST_F(LongBenchFlagsTest, TasksOfTheFolder) {
  const std::string data = folder_.string();
  testing::internal::CaptureStderr();
  EXPECT_EQ(names({"--data", data}),
            (std::vector<std::string>{"longbench/qasper", "longbench/lcc"}));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(count_of(said, " is left out: there is no "), 19);
  EXPECT_NE(said.find("seer: narrativeqa is left out: there is no " +
                      (folder_ / "narrativeqa.jsonl").string()),
            std::string::npos)
      << said;
  testing::internal::CaptureStderr();
  EXPECT_EQ(names({"--data", data, "--tasks", "lcc,all", "--tasks", "all_e"}),
            (std::vector<std::string>{"longbench/lcc", "longbench/qasper", "longbench/qasper_e"}));
  EXPECT_EQ(count_of(testing::internal::GetCapturedStderr(), " is left out"), 19 + 12);
  testing::internal::CaptureStderr();
  EXPECT_EQ(
      names({"--data", data, "--tasks", "qasper", "--samples", "1", "--prompt-tokens", "3500"}),
      (std::vector<std::string>{"longbench/qasper"}));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(tasks_.front()->samples(4096), 1);
  EXPECT_NE(tasks_.front()->settings().find("\"prompt_tokens\":3500"), std::string::npos);
}

TEST_F(LongBenchFlagsTest, Refused) {
  const std::string data = folder_.string();
  EXPECT_NE(refused({}).find("--data"), std::string::npos);
  EXPECT_NE(refused({"--data", data + "/qasper.jsonl"}).find("qasper.jsonl: expected a folder"),
            std::string::npos);
  EXPECT_NE(refused({"--data", data, "--tasks", "hotpotqa"}).find("--tasks hotpotqa: there is no "),
            std::string::npos);
  EXPECT_NE(refused({"--data", data, "--tasks", "nq"}).find("longbench task \"nq\""),
            std::string::npos);
  EXPECT_NE(refused({"--data", data, "--samples", "x"}).find("expected an integer"),
            std::string::npos);
  EXPECT_NE(refused({"--data", data, "--tasks", "qasper", "--samples", "-1"})
                .find("longbench samples -1"),
            std::string::npos);
  std::filesystem::create_directories(folder_ / "empty");
  testing::internal::CaptureStderr();
  const std::string message = refused({"--data", data + "/empty"});
  testing::internal::GetCapturedStderr();
  EXPECT_NE(message.find("expected LongBench's files in it, such as narrativeqa.jsonl"),
            std::string::npos)
      << message;
}

TEST_F(LongBenchFlagsTest, ChatIsTheModels) {
  // The bundled model has no chat template.
  EXPECT_NE(
      refused({"--data", folder_.string(), "--tasks", "qasper", "--chat"}).find("books-19m-32k"),
      std::string::npos);
}

}  // namespace
}  // namespace seer::cli
