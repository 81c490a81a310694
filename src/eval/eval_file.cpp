#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "base/quote.h"
#include "seer/eval_results.h"
#include "seer/text_file.h"

namespace seer {
namespace {

// Samples of whole lines; `whole_bytes` is where the last of them ends.
std::vector<EvalSample> parse_lines(std::string_view text, const std::string& name,
                                    std::size_t& whole_bytes) {
  std::vector<EvalSample> samples;
  std::size_t number = 0;
  whole_bytes = 0;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) break;
    ++number;
    samples.push_back(
        EvalSample::parse(text.substr(begin, end - begin), fmt::format("{}:{}", name, number)));
    begin = whole_bytes = end + 1;
  }
  return samples;
}

[[noreturn]] void fail(const std::filesystem::path& file, const char* what) {
  throw std::runtime_error(
      fmt::format("{}: cannot be {}: {}", file.string(), what, std::strerror(errno)));
}

// For this program alone, and behind the whole lines.
void lock_and_cut(int descriptor, const std::filesystem::path& file, std::size_t whole_bytes) {
  // Some file systems cannot lock; two writers are then the user's to avoid.
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw std::runtime_error(file.string() +
                             ": another program is writing it: wait for its end, or name another "
                             "file with --out");
  }
  if (::ftruncate(descriptor, static_cast<off_t>(whole_bytes)) != 0 ||
      ::lseek(descriptor, 0, SEEK_END) < 0) {
    fail(file, "written");
  }
}

// Throws where `sample` was got with another configuration; names the first setting that differs.
void check_configuration(const EvalSample& sample, const std::string& configuration,
                         const std::string& name) {
  if (sample.configuration == configuration) return;
  const Json there = parse_json(sample.configuration, name);
  const Json here = parse_json(configuration, name);
  const auto expect_same = [&](const std::string& key) {
    const std::string before = there.contains(key) ? there[key].dump() : "nothing";
    const std::string now = here.contains(key) ? here[key].dump() : "nothing";
    if (before == now) return;
    throw std::runtime_error(
        fmt::format("{}: {} was made with {} {}, now it is {}: use the same, or another --out",
                    name, sample.task, key, printable(before, 100), printable(now, 100)));
  };
  for (const auto& [key, value] : here.items()) expect_same(key);
  for (const auto& [key, value] : there.items()) expect_same(key);
}

}  // namespace

EvalFile::EvalFile(std::filesystem::path file, bool resume,
                   const EvalConfigurations& configurations)
    : file_(std::move(file)) {
  std::size_t whole_bytes = 0;
  if (std::filesystem::exists(file_)) {
    const std::string text = read_text_file(file_.string());
    if (!resume && !text.empty()) {
      throw std::runtime_error(
          file_.string() +
          ": exists already: --resume goes on with it; or name another file with --out");
    }
    samples_ = parse_lines(text, file_.string(), whole_bytes);
    for (const EvalSample& sample : samples_) {
      const auto found = configurations.find(sample.task);
      if (found != configurations.end()) {
        check_configuration(sample, found->second, file_.string());
      }
    }
  }
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(file_, "opened for writing");
  try {
    lock_and_cut(descriptor_, file_, whole_bytes);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

EvalFile::~EvalFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void EvalFile::append(const EvalSample& sample) {
  const std::string line = sample.to_json() + "\n";
  for (std::size_t done = 0; done < line.size();) {
    const ssize_t written = ::write(descriptor_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(file_, "written");
    done += static_cast<std::size_t>(written);
  }
  // Pipes and some file systems cannot sync; the line is written all the same.
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) fail(file_, "written");
}

std::vector<EvalSample> read_eval_file(const std::filesystem::path& file) {
  std::size_t whole_bytes = 0;
  std::vector<EvalSample> samples =
      parse_lines(read_text_file(file.string()), file.string(), whole_bytes);
  if (samples.empty()) {
    throw std::runtime_error(file.string() +
                             ": holds no samples; expected a result of `seer eval`");
  }
  return samples;
}

}  // namespace seer
