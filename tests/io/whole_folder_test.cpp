#include "io/whole_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>

#include "support/model_files.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using test::read_bytes;
using test::runtime_error_of;

class WholeFolderTest : public testing::Test {
 protected:
  void write(const std::vector<std::string>& replaceable, const std::string& text,
             bool keep) const {
    WholeFolder whole(out_, replaceable);
    OutputFile file(whole.path() / "data");
    file.write(text);
    file.finish();
    if (keep) whole.keep();
  }

  std::set<std::string> names() const {
    std::set<std::string> result;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      result.insert(entry.path().filename().string());
    return result;
  }

  test::TemporaryFolder folder_;
  fs::path out_ = folder_.path() / "out";
};

TEST_F(WholeFolderTest, IsWholeOrAbsent) {
  write({"data"}, "one", false);
  EXPECT_EQ(names(), std::set<std::string>{});
  write({"data"}, "one", true);
  write({"data"}, "two", false);
  EXPECT_EQ(read_bytes(out_ / "data"), "one");
  write({"data"}, "two", true);
  EXPECT_EQ(read_bytes(out_ / "data"), "two");
  EXPECT_EQ(names(), std::set<std::string>{"out"});
}

TEST_F(WholeFolderTest, WhatWouldBeLostIsNamed) {
  write({}, "one", true);
  EXPECT_EQ(
      runtime_error_of([&] { write({}, "two", true); }),
      out_.string() + ": holds data, which would be lost: expected a new folder or an empty one");
  EXPECT_EQ(runtime_error_of([&] { write({"other"}, "two", true); }),
            out_.string() +
                ": holds data, which would be lost: expected a new folder, an empty one or one of "
                "the same kind");
  EXPECT_EQ(read_bytes(out_ / "data"), "one");
  fs::remove(out_ / "data");
  write({}, "two", true);
  EXPECT_EQ(read_bytes(out_ / "data"), "two");
}

TEST_F(WholeFolderTest, PartsOfKilledProcessesDisappear) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const WholeFolder whole(out_, {});
    OutputFile file(whole.path() / "data");
    if (::write(ready[1], "x", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string part = "out.part-" + std::to_string(child);
  const std::set<std::string> alike = {"out.part-", "out.part-1a", "out2.part-1", "xout.part-1"};
  for (const std::string& name : alike) fs::create_directory(folder_.path() / name);

  // A process that lives keeps its own.
  write({}, "one", true);
  std::set<std::string> expected = alike;
  expected.insert({"out", part});
  EXPECT_EQ(names(), expected);

  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(names(), expected);
  write({"data"}, "two", true);
  expected.erase(part);
  EXPECT_EQ(names(), expected);
  EXPECT_EQ(read_bytes(out_ / "data"), "two");
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace seer
