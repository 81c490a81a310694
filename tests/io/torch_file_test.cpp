// What the fuzz corpora cannot say: the tensors that are read, and that written files are read back.
#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "io/torch_tensors.h"
#include "io/whole_folder.h"
#include "support/model_files.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

std::filesystem::path corpus(const std::string& name) {
  return fs::path(SEER_SOURCE_DIR) / "fuzz" / "corpus" / "torch_file" / name;
}

void write(const fs::path& path, const std::vector<NamedTensor>& tensors) {
  OutputFile file(path);
  write_torch_tensors(file, tensors);
  file.finish();
}

TEST(TorchFile, WrittenIsReadBack) {
  const test::TemporaryFolder folder;
  std::vector<NamedTensor> tensors = {{"a", at::randn({3, 4, 5})},
                                      {"b.weight", at::randn({7}).to(at::kBFloat16)},
                                      {"c", at::randn({2, 2}).to(at::kHalf)},
                                      {"d", at::randn({0, 3})},
                                      {"e", at::scalar_tensor(1.5)}};
  const fs::path path = folder.path() / "t.pth";
  write(path, tensors);
  const auto read = read_torch_tensors(path);
  ASSERT_EQ(read.size(), tensors.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].first, tensors[i].first);
    EXPECT_EQ(read[i].second.scalar_type(), tensors[i].second.scalar_type());
    EXPECT_TRUE(at::equal(read[i].second, tensors[i].second)) << read[i].first;
  }
}

TEST(TorchFile, EveryByteMayBeWrong) {
  const test::TemporaryFolder folder;
  write(folder.path() / "t.pth", {{"a", at::randn({3, 4})}, {"b", at::randn({6}).to(at::kHalf)}});
  const std::string good = test::read_bytes(folder.path() / "t.pth");
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    folder.write("bad.pth", bad);
    EXPECT_NO_THROW((void)test::runtime_error_of([&] {
      read_torch_tensors(folder.path() / "bad.pth");
    })) << i;
  }
}

TEST(TorchFile, MaliciousFilesAreNamed) {
  const std::string message =
      test::runtime_error_of([] { read_torch_tensors(corpus("malicious")); });
  for (const char* word : {"malicious", "data.pkl", "os.system", "nothing of the file is run"})
    EXPECT_NE(message.find(word), message.npos) << message;
  EXPECT_NE(test::runtime_error_of([] {
              read_torch_tensors(corpus("compressed"));
            }).find("stored as they are"),
            std::string::npos);
}

TEST(WholeFolder, DisappearsUnlessKept) {
  const test::TemporaryFolder folder;
  const fs::path target = folder.path() / "out";
  {
    const WholeFolder whole(target, {});
    OutputFile file(whole.path() / "a");
    file.write("text");
    file.finish();
    EXPECT_FALSE(fs::exists(target));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(WholeFolder, ReplacesAFolderOfItsKindInOneStep) {
  const test::TemporaryFolder folder;
  const fs::path target = folder.path() / "out/";
  for (const char* content : {"first", "second"}) {
    WholeFolder whole(target, {"a"});
    OutputFile file(whole.path() / "a");
    file.write(content);
    file.finish();
    whole.keep();
    EXPECT_EQ(test::read_bytes(target / "a"), content);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  EXPECT_NE(test::runtime_error_of([&] { WholeFolder(target, {"b"}); }), "");
  fs::create_directory_symlink(target, folder.path() / "link");
  WholeFolder linked(folder.path() / "link", {"a"});
  linked.keep();
  EXPECT_TRUE(fs::is_symlink(folder.path() / "link"));
  EXPECT_TRUE(fs::is_empty(target));
}

TEST(WholeFolder, TakesANameInTheCurrentFolder) {
  const test::TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  WholeFolder("new", {}).keep();
  fs::current_path(before);
  EXPECT_TRUE(fs::is_directory(folder.path() / "new"));
}

TEST(WholeFolder, FoldersThatCannotBe) {
  EXPECT_NE(test::runtime_error_of([] { WholeFolder("", {}); }), "");
  EXPECT_NE(test::runtime_error_of([] { WholeFolder("/", {}); }), "");
  EXPECT_NE(test::runtime_error_of([] { WholeFolder("/proc/none/such", {}); }), "");
}

}  // namespace
}  // namespace seer
