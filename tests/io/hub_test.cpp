#include "seer/hub.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "support/model_files.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

const std::string kCommit = "0123456789abcdef0123456789abcdef01234567";

TEST(Hub, ModelIds) {
  for (const char* good : {"org/name", "Qwen/Qwen3-0.6B", "a_b/c.d-e"})
    EXPECT_TRUE(is_model_id(good)) << good;
  for (const char* bad : {"", "name", "a/b/c", "../b", "a/..", "/b", "a/", "a b/c", "a/b--c",
                          "-a/b", "a/b\n", "\xC3\xA4/b"}) {
    EXPECT_FALSE(is_model_id(bad)) << bad;
  }
}

class Resolve : public testing::Test {
 protected:
  Resolve() {
    settings_.cache = root_ / "hub";
    const fs::path model = settings_.cache / "models--org--name";
    fs::create_directories(model / "snapshots" / kCommit);
    fs::create_directories(model / "refs" / "refs" / "pr");
    std::ofstream(model / "refs" / "main") << kCommit << "\n";
    std::ofstream(model / "refs" / "refs" / "pr" / "1") << kCommit;
    std::ofstream(model / "refs" / "gone") << std::string(40, 'f');
    std::ofstream(model / "refs" / "bad") << "../../..";
  }

  std::string message(const std::string& model, const std::string& revision) const {
    try {
      resolve_model(model, revision, settings_);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "no error";
  }

  test::TemporaryFolder folder_;
  const fs::path& root_ = folder_.path();
  HubSettings settings_;
};

TEST_F(Resolve, TakesAFolderAsItIs) {
  EXPECT_EQ(resolve_model(root_.string(), "main", settings_), root_);
}

TEST_F(Resolve, FindsASnapshot) {
  const fs::path folder = settings_.cache / "models--org--name" / "snapshots" / kCommit;
  for (const std::string& revision : {std::string("main"), std::string("refs/pr/1"), kCommit}) {
    EXPECT_EQ(resolve_model("org/name", revision, settings_), folder) << revision;
  }
}

TEST_F(Resolve, SaysWhatToDo) {
  EXPECT_NE(message("org/other", "main").find("seer pull org/other"), std::string::npos);
  EXPECT_NE(message("org/name", "v2").find("seer pull org/name --revision v2"), std::string::npos);
  EXPECT_NE(message("org/name", "gone").find("seer pull"), std::string::npos);
  EXPECT_NE(message("org/name", "bad").find("seer pull"), std::string::npos);
  EXPECT_NE(message("org/name", "../refs/main").find("expected a branch"), std::string::npos);
  EXPECT_NE(message("no_folder", "main").find("no such folder"), std::string::npos);
  EXPECT_NE(message((settings_.cache / "models--org--name" / "refs" / "main").string(), "main")
                .find("no folder"),
            std::string::npos);
}

}  // namespace
}  // namespace seer
