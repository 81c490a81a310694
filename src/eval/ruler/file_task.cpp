// Samples of a JSONL file, in and out.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "base/json.h"
#include "eval/ruler/prompts.h"
#include "eval/ruler/random.h"
#include "eval/ruler/task_table.h"
#include "seer/text_file.h"

namespace seer {
namespace {

using ruler::TaskKind;

struct Row {
  std::string text;
  std::vector<std::string> references;
  std::optional<std::int64_t> context;  // absent: fits any that is long enough
  std::optional<double> depth;
  std::size_t line = 0;
  std::int64_t tokens = 0;  // of the prompt
};

std::string expected_text(const Json& row, const char* field, const std::string& place) {
  const auto found = row.find(field);
  if (found == row.end() || !found->is_string()) {
    throw std::runtime_error(fmt::format("{}: expected a text in field '{}'", place, field));
  }
  return found->get<std::string>();
}

Row read_row(const Json& json, const std::string& place) {
  Row row;
  row.text = expected_text(json, "input", place);
  if (json.contains("answer_prefix")) row.text += expected_text(json, "answer_prefix", place);
  const auto outputs = json.find("outputs");
  const bool is_list = outputs != json.end() && outputs->is_array() && !outputs->empty();
  if (!is_list) throw std::runtime_error(place + ": expected a list of texts in field 'outputs'");
  for (const Json& output : *outputs) {
    if (!output.is_string()) {
      throw std::runtime_error(place + ": expected a list of texts in field 'outputs'");
    }
    row.references.push_back(output.get<std::string>());
  }
  if (const auto context = json.find("context"); context != json.end()) {
    if (!context->is_number_integer()) {
      throw std::runtime_error(place + ": expected an integer in field 'context'");
    }
    row.context = context->get<std::int64_t>();
  }
  if (const auto depth = json.find("depth"); depth != json.end() && depth->is_number()) {
    row.depth = depth->get<double>();
  }
  return row;
}

class FileTask : public RulerTask {
 public:
  FileTask(std::filesystem::path file, const TaskKind& kind, const Tokenizer& tokenizer,
           std::optional<TokenId> bos)
      : file_(std::move(file)), kind_(kind), tokenizer_(tokenizer), bos_(bos) {
    max_new_tokens_ = ruler::load_prompt_forms({}).at(kind.form).max_new_tokens;
    const std::string text = read_text_file(file_.string());
    std::size_t line = 0;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      const std::string_view part = std::string_view(text).substr(begin, end - begin);
      begin = end + 1;
      ++line;
      if (part.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      const std::string place = fmt::format("{}:{}", file_.string(), line);
      const Json json = parse_json(part, place);
      if (!json.is_object()) {
        throw std::runtime_error(place + ": expected an object {index, input, outputs}");
      }
      if (json.contains("task") && expected_text(json, "task", place) != kind.name) continue;
      rows_.push_back(read_row(json, place));
      rows_.back().line = line;
      rows_.back().tokens = static_cast<std::int64_t>(prompt_of(rows_.back()).prompt.tokens.size());
    }
    if (rows_.empty()) {
      throw std::runtime_error(
          fmt::format("{}: holds no rows of the task {}", file_.string(), kind.name));
    }
    nlohmann::ordered_json settings;
    settings["file"] = fmt::format("{:016x}", ruler::hash_of(text));
    settings["max_new_tokens"] = max_new_tokens_;
    settings["begin"] = bos ? nlohmann::ordered_json(*bos) : nlohmann::ordered_json();
    settings_ = settings.dump();
  }

  std::string name() const override { return ruler::task_name(kind_); }
  std::string metric() const override { return ruler::task_metric(kind_); }
  std::string settings() const override { return settings_; }
  double score(const EvalPrompt& prompt, std::string_view prediction) const override {
    return ruler::task_score(kind_, prompt, prediction);
  }

  std::int64_t samples(std::int64_t context) const override {
    const std::vector<const Row*> rows = rows_of(context);
    for (const Row* const row : rows) expect_fits(*row, context);
    return static_cast<std::int64_t>(rows.size());
  }

  RulerSample sample(std::int64_t context, std::int64_t index) const override {
    const std::vector<const Row*> rows = rows_of(context);
    if (index < 0 || index >= static_cast<std::int64_t>(rows.size())) {
      throw std::invalid_argument(
          fmt::format("{}: sample {}: expected 0 to {}", file_.string(), index, rows.size() - 1));
    }
    const Row& row = *rows[static_cast<std::size_t>(index)];
    expect_fits(row, context);
    return prompt_of(row);
  }

 private:
  RulerSample prompt_of(const Row& row) const {
    RulerSample sample;
    sample.text = row.text;
    sample.prompt.tokens = tokenizer_.encode(row.text, /*add_special_tokens=*/false);
    std::vector<TokenId>& tokens = sample.prompt.tokens;
    if (bos_ && (tokens.empty() || tokens.front() != *bos_)) {
      sample.begin = bos_;
      tokens.insert(tokens.begin(), *bos_);
    }
    sample.prompt.max_new_tokens = max_new_tokens_;
    sample.prompt.references = row.references;
    sample.prompt.depth = row.depth;
    return sample;
  }

  void expect_fits(const Row& row, std::int64_t context) const {
    // A context that the row names may count the prompt alone.
    const std::int64_t needed = row.context ? row.tokens : row.tokens + max_new_tokens_;
    if (needed <= context) return;
    throw std::invalid_argument(fmt::format(
        "{}:{}: the row takes {} tokens with this tokenizer, {} to be generated{}: expected a "
        "context of {} or more, got {}",
        file_.string(), row.line, needed, max_new_tokens_,
        row.context ? " not counted" : " included", needed, context));
  }

  std::vector<const Row*> rows_of(std::int64_t context) const {
    std::vector<const Row*> rows;
    for (const Row& row : rows_) {
      if (row.context.value_or(context) == context) rows.push_back(&row);
    }
    if (rows.empty()) {
      throw std::invalid_argument(
          fmt::format("{}: holds no rows of the context {}", file_.string(), context));
    }
    return rows;
  }

  std::filesystem::path file_;
  const TaskKind& kind_;
  const Tokenizer& tokenizer_;
  std::optional<TokenId> bos_;
  std::int64_t max_new_tokens_ = 0;
  std::vector<Row> rows_;
  std::string settings_;
};

// The name without "ruler/".
std::string short_name(const RulerTask& task) {
  const std::string name = task.name();
  return name.substr(name.find('/') + 1);
}

}  // namespace

std::unique_ptr<RulerTask> make_ruler_file_task(const std::filesystem::path& file,
                                                std::string_view name, const Tokenizer& tokenizer,
                                                std::optional<TokenId> bos) {
  return std::make_unique<FileTask>(file, ruler::task_kind(name), tokenizer, bos);
}

std::string ruler_json(const RulerTask& task, const Tokenizer& tokenizer, std::int64_t context,
                       std::int64_t index) {
  const RulerSample sample = task.sample(context, index);
  const auto prompt_tokens = static_cast<std::int64_t>(sample.prompt.tokens.size());
  nlohmann::ordered_json json;
  json["index"] = index;
  json["input"] = sample.text;
  json["outputs"] = sample.prompt.references;
  json["length"] = prompt_tokens + sample.prompt.max_new_tokens;
  json["task"] = short_name(task);
  json["context"] = context;
  json["prompt_tokens"] = prompt_tokens;
  json["max_new_tokens"] = sample.prompt.max_new_tokens;
  json["begin"] = nullptr;
  if (sample.begin) json["begin"] = tokenizer.id_to_token(*sample.begin).value_or("");
  if (sample.prompt.depth) json["depth"] = *sample.prompt.depth;
  return json.dump();
}

void write_ruler_jsonl(const std::vector<std::unique_ptr<RulerTask>>& tasks,
                       const Tokenizer& tokenizer, const std::vector<std::int64_t>& contexts,
                       const std::filesystem::path& file,
                       const std::function<void(std::int64_t, std::int64_t)>& on_row) {
  std::int64_t total = 0, done = 0;
  for (const auto& task : tasks) {
    for (const std::int64_t context : contexts) total += task->samples(context);
  }
  // Rows are too many to be held: they are written aside.
  const std::filesystem::path part = file.string() + ".part";
  try {
    std::ofstream out(part, std::ios::binary | std::ios::trunc);
    const auto expect_good = [&] {
      if (!out) {
        throw std::runtime_error(part.string() + ": cannot be written: " + std::strerror(errno));
      }
    };
    expect_good();
    for (const auto& task : tasks) {
      for (const std::int64_t context : contexts) {
        const std::int64_t samples = task->samples(context);
        for (std::int64_t index = 0; index < samples; ++index) {
          if (on_row) on_row(done++, total);
          out << ruler_json(*task, tokenizer, context, index) << '\n';
          expect_good();
        }
      }
    }
    out.close();
    expect_good();
    std::filesystem::rename(part, file);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(part, ignored);
    throw;
  }
}

}  // namespace seer
