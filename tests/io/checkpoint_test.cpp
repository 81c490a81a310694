#include "seer/checkpoint.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/model_files.h"

namespace seer {
namespace {

using test::bytes_of;
using test::safetensors_file;
using test::StoredTensor;
using test::TemporaryFolder;

constexpr const char* kFile = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
const std::vector<float> kValues = {1.0f, -2.5f, 0.0f, 65504.0f, 1e-3f, 3.0f};

StoredTensor stored(const std::string& name, const at::Tensor& tensor, const char* dtype) {
  const at::Tensor dense = tensor.contiguous();
  return {name, dtype, dense.sizes().vec(),
          std::string(static_cast<const char*>(dense.const_data_ptr()),
                      static_cast<std::size_t>(dense.nbytes()))};
}

at::Tensor values(at::ScalarType type) {
  return at::tensor(kValues).view({2, 3}).to(type);
}

std::string message(const auto& action, std::initializer_list<const char*> words) {
  const std::string text = test::runtime_error_of(action);
  EXPECT_NE(text, "") << "nothing was thrown";
  for (const char* word : words)
    EXPECT_NE(text.find(word), text.npos) << word << " is not in: " << text;
  return text;
}

// Resident bytes of mapped files.
std::int64_t resident_file_bytes() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("RssFile:")) return std::stoll(line.substr(8)) * 1024;
  }
  return -1;
}

struct Conversion {
  const char* dtype;
  at::ScalarType type;
  int padding;  // shifts the data off their alignment
};

class CheckpointLoad : public testing::TestWithParam<Conversion> {};

TEST_P(CheckpointLoad, ViewAndEveryComputeType) {
  const auto [dtype, type, padding] = GetParam();
  TemporaryFolder folder;
  folder.write(kFile,
               safetensors_file({stored("w", values(type), dtype),
                                 {"scalar", dtype, {}, stored("", at::ones({}, type), dtype).bytes},
                                 {"empty", dtype, {0, 4}, ""}},
                                padding));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.names(), (std::vector<std::string>{"empty", "scalar", "w"}));
  const at::Tensor view = checkpoint.view("w");
  EXPECT_TRUE(at::equal(view, values(type)));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.const_data_ptr()) % view.element_size(), 0u);
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor loaded = checkpoint.load("w", {2, 3}, compute);
    EXPECT_EQ(loaded.scalar_type(), compute);
    EXPECT_TRUE(at::equal(loaded, values(type).to(compute)));
    EXPECT_EQ(checkpoint.load("scalar", {}, compute).item<float>(), 1.0f);
    EXPECT_EQ(checkpoint.load("empty", {0, 4}, compute).numel(), 0);
  }
  EXPECT_TRUE(at::equal(view, values(type)));  // also after its pages were released
}

INSTANTIATE_TEST_SUITE_P(
    All, CheckpointLoad,
    testing::Values(Conversion{"F32", at::kFloat, 0}, Conversion{"F32", at::kFloat, 1},
                    Conversion{"F32", at::kFloat, 2}, Conversion{"F16", at::kHalf, 0},
                    Conversion{"F16", at::kHalf, 1}, Conversion{"BF16", at::kBFloat16, 0},
                    Conversion{"BF16", at::kBFloat16, 3}),
    [](const auto& test) {
      return std::string(test.param.dtype) + "_shifted_by_" + std::to_string(test.param.padding);
    });

TEST(Checkpoint, AViewOutlivesItsCheckpoint) {
  TemporaryFolder folder;
  folder.write(kFile, safetensors_file({stored("w", values(at::kFloat), "F32")}));
  at::Tensor view;
  {
    const Checkpoint checkpoint = Checkpoint::open(folder.path());
    view = checkpoint.view("w");
  }
  EXPECT_TRUE(at::equal(view, values(at::kFloat)));
}

TEST(Checkpoint, LoadIntoRowsOfALargerTensor) {
  TemporaryFolder folder;
  folder.write(kFile, safetensors_file({stored("w", values(at::kBFloat16), "BF16")}));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  at::Tensor whole = at::zeros({4, 3});
  checkpoint.load_into("w", whole.narrow(0, 1, 2));
  EXPECT_TRUE(at::equal(whole, at::cat({at::zeros({1, 3}), values(at::kBFloat16).to(at::kFloat),
                                        at::zeros({1, 3})})));
  message([&] { checkpoint.load_into("w", whole); }, {"shape", "[4, 3]", "[2, 3]"});
}

// Larger than the pieces that loading goes by, and no multiple of them.
TEST(Checkpoint, LoadingReleasesTheFile) {
  constexpr std::int64_t kCount = 30 * (1 << 20) + 13;
  TemporaryFolder folder;
  const at::Tensor stored_values = at::arange(kCount, at::kInt).remainder(251).to(at::kBFloat16);
  folder.write(kFile,
               safetensors_file({{"first", "U8", {1}, "x"}, stored("w", stored_values, "BF16")}));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  const std::int64_t before = resident_file_bytes();
  const at::Tensor wide = checkpoint.load("w", {kCount}, at::kFloat);
  const at::Tensor same = checkpoint.load("w", {kCount}, at::kBFloat16);
  const std::int64_t after = resident_file_bytes();
  EXPECT_TRUE(at::equal(same, stored_values));
  EXPECT_TRUE(at::equal(wide, stored_values.to(at::kFloat)));
  if (before >= 0) {
    EXPECT_LT(after - before, 10 << 20);  // of 60 MB; code of LibTorch's is read in as well
  }
}

TEST(Checkpoint, RefusalsNameTheTensor) {
  TemporaryFolder folder;
  folder.write(kFile, safetensors_file({stored("w", values(at::kFloat), "F32"),
                                        {"ids", "I64", {1}, std::string(8, 0)}}));
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_TRUE(checkpoint.contains("w"));
  EXPECT_FALSE(checkpoint.contains("v"));
  EXPECT_EQ(checkpoint.info("ids").dtype, "I64");
  EXPECT_EQ(checkpoint.info("w").bytes, 24u);
  message([&] { checkpoint.info("v"); }, {"no tensor", "\"v\""});
  message(
      [&] {
        checkpoint.load("w", {3, 2}, at::kFloat);
      },
      {kFile, "\"w\"", "expected [3, 2]", "got [2, 3]"});
  message([&] { checkpoint.load("ids", {1}, at::kFloat); }, {"\"ids\"", "I64", "F32, F16, BF16"});
  message([&] { checkpoint.view("ids"); }, {"\"ids\"", "I64"});
  EXPECT_ANY_THROW(checkpoint.load("w", {2, 3}, at::kDouble));
}

TEST(Checkpoint, Folders) {
  TemporaryFolder folder;
  message([&] { Checkpoint::open(folder.path() / "none"); }, {"none", "no such folder"});
  message([&] { Checkpoint::open(folder.path()); }, {"no weights", kFile, kIndex});
  folder.write("pytorch_model.bin", "");
  message([&] { Checkpoint::open(folder.path()); }, {"pytorch_model.bin", "safetensors"});
  folder.write(kFile, "short");
  message([&] { Checkpoint::open(folder.path() / kFile); }, {"not a folder"});
  message([&] { Checkpoint::open(folder.path()); }, {kFile, "5 bytes"});
  folder.write(kFile, "");
  message([&] { Checkpoint::open(folder.path()); }, {kFile, "0 bytes"});
  std::filesystem::remove(folder.path() / kFile);
  std::filesystem::create_directory(folder.path() / kFile);
  message([&] { Checkpoint::open(folder.path()); }, {kFile, "not a regular file"});
  std::filesystem::remove(folder.path() / kFile);
  ASSERT_EQ(mkfifo((folder.path() / kFile).c_str(), 0600), 0);
  message([&] { Checkpoint::open(folder.path()); }, {kFile, "not a regular file"});
}

TEST(Checkpoint, UnreadableFile) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  TemporaryFolder folder;
  folder.write(kFile, safetensors_file({stored("w", values(at::kFloat), "F32")}));
  chmod((folder.path() / kFile).c_str(), 0);
  message([&] { Checkpoint::open(folder.path()); }, {kFile, "permission"});
}

class ShardedCheckpoint : public testing::Test {
 protected:
  void SetUp() override {
    folder.write("1.safetensors", safetensors_file({stored("a", values(at::kFloat), "F32")}));
    folder.write("2.safetensors", safetensors_file({stored("b", values(at::kHalf), "F16")}));
  }
  void index(const nlohmann::json& weight_map) {
    folder.write(
        kIndex,
        nlohmann::json{{"metadata", {{"total_size", 36}}}, {"weight_map", weight_map}}.dump());
  }
  void refused(std::initializer_list<const char*> words) {
    message([&] { Checkpoint::open(folder.path()); }, words);
  }
  TemporaryFolder folder;
};

TEST_F(ShardedCheckpoint, IsReadAsOne) {
  index({{"a", "1.safetensors"}, {"b", "2.safetensors"}});
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_EQ(checkpoint.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(
      at::equal(checkpoint.load("b", {2, 3}, at::kFloat), values(at::kHalf).to(at::kFloat)));
}

TEST_F(ShardedCheckpoint, MissingShard) {
  index({{"a", "1.safetensors"}, {"b", "2.safetensors"}, {"c", "3.safetensors"}});
  refused({"1 of 3", "\"3.safetensors\"", "Download"});
}

TEST_F(ShardedCheckpoint, TensorThatItsShardHasNot) {
  index({{"a", "1.safetensors"}, {"b", "2.safetensors"}, {"c", "2.safetensors"}});
  refused({kIndex, "\"c\"", "\"2.safetensors\""});
}

TEST_F(ShardedCheckpoint, TensorThatTheIndexHasNot) {
  folder.write("2.safetensors", safetensors_file({stored("b", values(at::kHalf), "F16"),
                                                  stored("z", values(at::kHalf), "F16")}));
  index({{"a", "1.safetensors"}, {"b", "2.safetensors"}});
  refused({"2.safetensors", "\"z\"", "not listed", kIndex});
}

TEST_F(ShardedCheckpoint, TensorInTwoShards) {
  folder.write("2.safetensors", safetensors_file({stored("b", values(at::kHalf), "F16"),
                                                  stored("a", values(at::kHalf), "F16")}));
  index({{"a", "1.safetensors"}, {"b", "2.safetensors"}});
  refused({"\"a\"", "1.safetensors", "2.safetensors"});
}

TEST_F(ShardedCheckpoint, TensorInTheWrongShard) {
  index({{"a", "2.safetensors"}, {"b", "1.safetensors"}});
  refused({"should be in", kIndex});
}

TEST_F(ShardedCheckpoint, PathsOutOfTheFolder) {
  std::filesystem::create_directory(folder.path() / "model");
  for (const char* shard :
       {"../1.safetensors", "/etc/1.safetensors", "..", "sub/1.safetensors", "..\\1.safetensors"}) {
    index({{"a", shard}, {"b", "2.safetensors"}});
    refused({kIndex, "\"a\"", "slashes"});
  }
}

TEST_F(ShardedCheckpoint, BrokenIndex) {
  folder.write(kIndex, "{\"weight_map\": {");
  refused({kIndex, "no valid JSON"});
}

// The bundled model and the golden ones, as users have them.
TEST(Checkpoint, ModelsOfTheTree) {
  const std::filesystem::path root = SEER_SOURCE_DIR;
  const Checkpoint bundled = Checkpoint::open(root / "models" / "books-19m-32k");
  EXPECT_EQ(bundled.names().size(), 92u);  // 10 layers of 9, embedding and norm
  std::uint64_t bytes = 0;
  for (const std::string& name : bundled.names()) {
    bytes += bundled.info(name).bytes;
    EXPECT_TRUE(at::isfinite(bundled.view(name)).all().item<bool>()) << name;
  }
  EXPECT_EQ(bytes, 37764864u);
  for (const char* name : {"llama-yarn", "llama31", "qwen2", "qwen3"}) {
    const Checkpoint golden = Checkpoint::open(root / "tests" / "golden" / "parity" / name);
    EXPECT_EQ(golden.info("model.embed_tokens.weight").shape, (std::vector<std::int64_t>{512, 256}))
        << name;
  }
}

}  // namespace
}  // namespace seer
