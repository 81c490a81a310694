#include <fmt/format.h>

#include <map>
#include <stdexcept>

#include "base/json.h"
#include "seer/report.h"
#include "seer/text_file.h"

namespace seer {
namespace {

TrainingStep parse_step(std::string_view line, const std::string& place) {
  const Json json = parse_json(line, place);
  const auto wrong = [&](const char* what) {
    throw std::runtime_error(
        fmt::format("{}: expected {}; is this a log of `seer distill`?", place, what));
  };
  if (!json.is_object()) wrong("an object");
  const auto step = json.find("step"), loss = json.find("loss");
  if (step == json.end() || !step->is_number_integer()) wrong("an integer in the field step");
  if (loss == json.end() || !loss->is_number()) wrong("a number in the field loss");
  TrainingStep result{
      .step = step->get<std::int64_t>(), .loss = loss->get<double>(), .layer_recall = {}};
  const auto recall = json.find("layer_recall");
  if (recall == json.end()) return result;
  if (!recall->is_array()) wrong("a list in the field layer_recall");
  for (const Json& value : *recall) {
    if (!value.is_number()) wrong("numbers in the field layer_recall");
    result.layer_recall.push_back(value.get<double>());
  }
  return result;
}

}  // namespace

std::vector<TrainingStep> read_training_log(const std::filesystem::path& file) {
  const std::string text = read_text_file(file.string());
  std::map<std::int64_t, TrainingStep> steps;
  std::size_t number = 0;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    TrainingStep step = parse_step(std::string_view(text).substr(begin, end - begin),
                                   fmt::format("{}:{}", file.string(), ++number));
    steps.insert_or_assign(step.step, std::move(step));
    begin = end + 1;
  }
  if (steps.empty()) {
    throw std::runtime_error(file.string() + ": holds no steps; expected a log of `seer distill`");
  }
  std::vector<TrainingStep> result;
  for (auto& [key, step] : steps) result.push_back(std::move(step));
  return result;
}

}  // namespace seer
