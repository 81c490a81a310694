#include <ATen/TensorOperators.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <stdexcept>

#include "base/whole_file.h"
#include "eval/block_map_picture.h"
#include "eval/report_charts.h"
#include "seer/report.h"

namespace seer {
namespace {

constexpr const char* kConverter = "rsvg-convert";
constexpr const char* kPixelsPerUnit = "3";

// Runs rsvg-convert; the picture is complete or absent.
void convert_to_png(const std::filesystem::path& svg, const std::filesystem::path& png) {
  const std::filesystem::path part = png.string() + ".part";
  const std::string output = part.string(), input = svg.string();
  const char* const arguments[] = {kConverter,           "--zoom",      kPixelsPerUnit,
                                   "--background-color", "white",       "--output",
                                   output.c_str(),       input.c_str(), nullptr};
  pid_t process = 0;
  const int error = ::posix_spawnp(&process, kConverter, nullptr, nullptr,
                                   const_cast<char* const*>(arguments), environ);
  if (error != 0) {
    throw std::runtime_error(fmt::format(
        "{}: the program {} cannot be run ({}): install librsvg (Debian: librsvg2-bin), or leave "
        "out --png: {} is there",
        png.string(), kConverter, std::strerror(error), input));
  }
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) {
    std::filesystem::remove(part);
    throw std::runtime_error(
        fmt::format("{}: {} failed (its message is above)", png.string(), kConverter));
  }
  std::filesystem::rename(part, png);
}

class FigureFolder {
 public:
  FigureFolder(std::filesystem::path folder, bool png) : folder_(std::move(folder)), png_(png) {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (!std::filesystem::is_directory(folder_)) {
      throw std::runtime_error(fmt::format("{}: cannot be made: {}", folder_.string(),
                                           error ? error.message() : "a file has this name"));
    }
  }

  void add(const Figures& figures) {
    for (const Figure& figure : figures) {
      const std::string name = free_name(figure.name);
      write(name + ".svg", figure.svg);
      write(name + ".csv", figure.csv);
      if (!png_) continue;
      convert_to_png(folder_ / (name + ".svg"), folder_ / (name + ".png"));
      files_.push_back(name + ".png");
    }
  }

  void write(const std::string& file, std::string_view text) {
    write_whole_file((folder_ / file).string(), text);
    files_.push_back(file);
  }

  std::vector<std::string> files() && { return std::move(files_); }

 private:
  // Titles that differ in signs alone have names that do not.
  std::string free_name(const std::string& wanted) {
    std::string name = wanted;
    for (int number = 2; !names_.insert(name).second; ++number) {
      name = fmt::format("{}-{}", wanted, number);
    }
    return name;
  }

  std::filesystem::path folder_;
  bool png_;
  std::vector<std::string> files_;
  std::set<std::string> names_;
};

}  // namespace

std::vector<std::string> write_figures(const ReportInput& input,
                                       const std::filesystem::path& folder, bool png) {
  FigureFolder files(folder, png);
  const std::vector<EvalSummary> summaries = summarise_with_means(input.samples);
  files.add(quality_charts(summaries));
  files.add(depth_maps(depth_scores(input.samples)));
  files.add(time_charts(summaries));
  files.add(layer_charts(summaries, kReportDensity));
  files.add(training_charts(input.training));
  for (const BlockMaps& map : input.maps) {
    const std::string name = fmt::format("block-map-layer-{}-head-{}", map.layer, map.head);
    files.write(name + "-true.png", block_map_png(map.truth));
    if (map.predicted.defined()) files.write(name + "-predicted.png", block_map_png(map.predicted));
    files.write(name + "-computed.png", block_map_png(map.mask));
    files.write(name + "-missed.png", block_map_png(map.truth * map.mask.logical_not()));
  }
  if (!summaries.empty()) files.write("summary.csv", eval_csv(summaries));
  return std::move(files).files();
}

}  // namespace seer
