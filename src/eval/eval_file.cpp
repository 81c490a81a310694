#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "base/quote.h"
#include "seer/eval.h"
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

// Throws where a sample of `task` was got with another configuration; names the first setting that differs.
void check_configuration(const std::vector<EvalSample>& samples, EvalTask task,
                         const std::string& configuration, const std::string& name) {
  for (const EvalSample& sample : samples) {
    if (sample.task != task || sample.configuration == configuration) continue;
    const Json there = parse_json(sample.configuration, name);
    const Json here = parse_json(configuration, name);
    for (const auto& [key, value] : here.items()) {
      const std::string old = there.contains(key) ? there[key].dump() : "nothing";
      if (old == value.dump()) continue;
      throw std::runtime_error(
          fmt::format("{}: was made with {} {}, now it is {}: use the same, or another --out", name,
                      key, printable(old, 100), printable(value.dump(), 100)));
    }
    throw std::runtime_error(name + ": was made with other settings: use another --out");
  }
}

}  // namespace

EvalFile::EvalFile(std::filesystem::path file, bool resume, EvalTask task,
                   const std::string& configuration)
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
    check_configuration(samples_, task, configuration, file_.string());
  }
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(file_, "opened for writing");
  if (::ftruncate(descriptor_, static_cast<off_t>(whole_bytes)) != 0 ||
      ::lseek(descriptor_, 0, SEEK_END) < 0) {
    fail(file_, "written");
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
