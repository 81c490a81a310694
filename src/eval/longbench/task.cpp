// A dataset as a task: its rows as prompts that fit.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "base/fnv1a.h"
#include "eval/longbench/dataset_table.h"
#include "eval/longbench/prompts.h"
#include "eval/longbench/rows.h"
#include "eval/placeholders.h"
#include "eval/task_checks.h"
#include "seer/longbench.h"
#include "seer/text_file.h"

namespace seer {
namespace {

using longbench::Dataset;
using longbench::Row;

constexpr std::int64_t kLeastPrompt = 16;  // tokens of a prompt that are worth being kept

std::string hash_text(std::string_view text) {
  return fmt::format("{:016x}", fnv1a(text));
}

// As published: words of English and code, characters of Chinese.
const char* subset_of(std::int64_t length) {
  if (length < 4000) return "0-4k";
  return length < 8000 ? "4-8k" : "8k+";
}

// So many of the rows, evenly over all of them.
std::vector<Row> chosen(std::vector<Row> rows, std::int64_t samples) {
  const auto all = static_cast<std::int64_t>(rows.size());
  if (samples == 0 || samples >= all) return rows;
  std::vector<Row> result;
  for (std::int64_t i = 0; i < samples; ++i) {
    result.push_back(std::move(rows[static_cast<std::size_t>(i * all / samples)]));
  }
  return result;
}

class DatasetTask : public EvalTask {
 public:
  DatasetTask(std::string_view name, const Tokenizer& tokenizer, std::optional<TokenId> bos,
              const LongBenchOptions& options)
      : name_(name), dataset_(longbench::dataset_of(name)), tokenizer_(tokenizer) {
    expect_option_at_least("longbench samples", options.samples, 0);
    if (options.prompt_tokens != 0) {
      expect_option_at_least("longbench prompt tokens", options.prompt_tokens, kLeastPrompt);
      most_kept_ = options.prompt_tokens;
    }
    begins_ = bos ? 1 : 0;
    if (options.chat && dataset_.form == longbench::Form::kRequest) {
      chat_ = options.chat;
    } else {
      begin_ = bos;
    }
    template_ = longbench::prompt_template(options.prompts, dataset_);
    const std::filesystem::path file = longbench_file(options.folder, name);
    const std::string text = read_text_file(file.string());
    rows_ = chosen(longbench::parse_rows(text, file.string(), dataset_), options.samples);
    nlohmann::ordered_json settings;
    settings["data"] = hash_text(text);
    settings["samples"] = rows_.size();
    settings["max_new_tokens"] = dataset_.max_new_tokens;
    settings["begin"] = begin_ ? nlohmann::ordered_json(*begin_) : nlohmann::ordered_json();
    // What the template makes of a turn tells it from others.
    settings["chat"] =
        chat_ ? nlohmann::ordered_json(hash_text(turn("A turn."))) : nlohmann::ordered_json();
    settings["prompt"] = hash_text(template_);
    settings["prompt_tokens"] = options.prompt_tokens;
    settings_ = settings.dump();
  }

  std::string name() const override { return "longbench/" + name_; }
  std::string metric() const override { return dataset_.metric->name; }
  std::string settings() const override { return settings_; }
  double score(const EvalPrompt& prompt, std::string_view prediction) const override {
    return longbench::score(dataset_, prediction, prompt.references, prompt.classes);
  }

  std::int64_t samples(std::int64_t context) const override {
    const std::int64_t least = dataset_.max_new_tokens + size_of(tokens_of("")) + kLeastPrompt;
    if (context < least) {
      throw std::invalid_argument(
          fmt::format("{}: context {}: expected {} or more: {} tokens are to be generated", name(),
                      context, least, dataset_.max_new_tokens));
    }
    return static_cast<std::int64_t>(rows_.size());
  }

  EvalPrompt prompt(std::int64_t context, std::int64_t index) const override {
    expect_sample(name(), index, samples(context));
    const Row& row = rows_[static_cast<std::size_t>(index)];
    EvalPrompt prompt;
    prompt.tokens =
        fitted(replace_placeholders(template_, {{"context", row.context}, {"input", row.input}}),
               context - dataset_.max_new_tokens);
    prompt.max_new_tokens = dataset_.max_new_tokens;
    prompt.references = row.answers;
    prompt.classes = row.classes;
    prompt.subset = subset_of(row.length);
    return prompt;
  }

 private:
  static std::int64_t size_of(const std::vector<TokenId>& tokens) {
    return static_cast<std::int64_t>(tokens.size());
  }

  std::string turn(const std::string& text) const {
    return chat_ ? chat_->render({{.role = "user", .content = text}}, true) : text;
  }

  // What the model gets for this prompt.
  std::vector<TokenId> tokens_of(const std::string& text) const {
    std::vector<TokenId> tokens = tokenizer_.encode(turn(text), /*add_special_tokens=*/false);
    if (begin_) tokens.insert(tokens.begin(), *begin_);
    return tokens;
  }

  // The first and the last half of `kept` tokens, as text. The published program counts a begin-of-text token among the
  // first ones, also where a chat template will write it.
  std::string without_middle(const std::vector<TokenId>& tokens, std::int64_t kept) const {
    const std::span<const TokenId> all(tokens);
    const auto front = static_cast<std::size_t>(kept / 2 - begins_);
    const auto back = static_cast<std::size_t>(kept - kept / 2);
    return tokenizer_.decode(all.first(front), /*skip_special_tokens=*/true) +
           tokenizer_.decode(all.last(back), /*skip_special_tokens=*/true);
  }

  // At most `room` tokens.
  std::vector<TokenId> fitted(const std::string& text, std::int64_t room) const {
    const std::vector<TokenId> whole = tokenizer_.encode(text, /*add_special_tokens=*/false);
    const std::int64_t all = size_of(whole) + begins_;
    std::int64_t kept = std::min(all, most_kept_);
    std::vector<TokenId> tokens = tokens_of(kept < all ? without_middle(whole, kept) : text);
    if (size_of(tokens) <= room) return tokens;
    // Where the halves meet, and in the template's words, tokens may join or part: the number that fills the room is
    // looked for. Each step is right but for those few.
    std::vector<TokenId> best;
    std::set<std::int64_t> tried;
    while (tried.size() < kTries || best.empty()) {
      kept = std::min(kept + room - size_of(tokens), std::min(all - 1, most_kept_));
      // Towards fewer where a number comes again before any fitted.
      while (best.empty() && tried.contains(kept)) --kept;
      if (kept / 2 - begins_ < 1) {
        if (!best.empty()) break;
        throw std::runtime_error(
            fmt::format("{}: this tokenizer cannot cut a prompt to {} tokens", name(), room));
      }
      if (!tried.insert(kept).second) break;
      tokens = tokens_of(without_middle(whole, kept));
      if (size_of(tokens) <= room && tokens.size() > best.size()) best = tokens;
      if (size_of(tokens) == room) break;
    }
    return best;
  }

  static constexpr std::size_t kTries = 16;

  std::string name_;  // "qasper" or "qasper_e"
  const Dataset& dataset_;
  const Tokenizer& tokenizer_;
  std::shared_ptr<const ChatTemplate> chat_;
  std::int64_t begins_ = 0;       // tokens that begin a text of this model
  std::optional<TokenId> begin_;  // that is put in front
  std::int64_t most_kept_ = std::numeric_limits<std::int64_t>::max();
  std::string template_;
  std::vector<Row> rows_;
  std::string settings_;
};

}  // namespace

std::unique_ptr<EvalTask> make_longbench_task(std::string_view name, const Tokenizer& tokenizer,
                                              std::optional<TokenId> bos,
                                              const LongBenchOptions& options) {
  return std::make_unique<DatasetTask>(name, tokenizer, bos, options);
}

}  // namespace seer
