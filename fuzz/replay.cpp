// Runs the files of corpus folders through a fuzz target, for compilers without libFuzzer and for ctest. A file must be
// refused with a message, or, where its name begins with "ok-", be accepted.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fuzz/fuzz_target.h"

namespace {

std::vector<std::filesystem::path> files_of(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

// What stands on a terminal must not steer it.
bool printable(const std::string& message) {
  return !message.empty() && std::none_of(message.begin(), message.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n') || byte == 0x7f;
  });
}

// What is wrong with how the target took the file, or nothing.
std::optional<std::string> replay(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string input((std::istreambuf_iterator<char>(in)), {});
  if (!in) return "cannot be read";
  const bool expect_accepted = file.filename().string().starts_with("ok-");
  try {
    seer::fuzz::parse_input(input);
  } catch (const std::runtime_error& error) {
    const std::string message = error.what();
    std::cout << "  refused: " << message << std::endl;
    if (expect_accepted) return "should have been accepted";
    if (!printable(message)) return "the message is empty or has control characters";
    if (message.size() > 2000)
      return "the message is " + std::to_string(message.size()) + " characters long";
    return std::nullopt;
  }
  std::cout << "  accepted" << std::endl;
  if (!expect_accepted) return "should have been refused";
  return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: " << argv[0] << " FOLDER...: replays the files below through the target"
              << std::endl;
    return 2;
  }
  const std::vector<std::filesystem::path> files = files_of(argc, argv);
  int failures = 0;
  for (const auto& file : files) {
    std::cout << file.filename().string()
              << std::endl;  // first: a crash must be seen to belong to this file
    if (const auto wrong = replay(file)) {
      ++failures;
      std::cout << "  FAILED: " << *wrong << std::endl;
    }
  }
  std::cout << files.size() << " files, " << failures << " failed" << std::endl;
  return failures > 0 || files.empty() ? 1 : 0;
}
