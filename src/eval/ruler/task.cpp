// A generated task: a draft, the words around it, and the length.
#include <fmt/format.h>

#include <numeric>
#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "eval/ruler/fit.h"
#include "eval/ruler/prompts.h"
#include "eval/ruler/task_table.h"
#include "seer/text_file.h"

namespace seer {
namespace {

using ruler::Draft;
using ruler::Random;
using ruler::TaskKind;

std::string trimmed(std::string text, bool front, bool back) {
  constexpr const char* kBlanks = " \t\r\n";
  if (back) text.erase(text.find_last_not_of(kBlanks) + 1);
  if (front) text.erase(0, std::min(text.find_first_not_of(kBlanks), text.size()));
  return text;
}

// What a chat template puts around the user's turn.
struct ChatFrame {
  std::string head, tail;
};

ChatFrame frame_of(const ChatTemplate& chat) {
  const std::string marker = "SEER-RULER-USER-TURN";
  const std::string text = chat.render({{.role = "user", .content = marker}}, true);
  const std::size_t at = text.find(marker);
  if (at == std::string::npos || text.find(marker, at + 1) != std::string::npos) {
    throw std::runtime_error(
        "chat template: expected the user's turn once in what it renders; without --chat the "
        "prompts are plain text");
  }
  return {.head = text.substr(0, at), .tail = text.substr(at + marker.size())};
}

std::string hash_text(std::string_view text) {
  return fmt::format("{:016x}", ruler::hash_of(text));
}

std::string hash_file(const std::filesystem::path& file) {
  return hash_text(read_text_file(file.string()));
}

void expect_from(const char* option, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value >= least && value <= most) return;
  throw std::invalid_argument(fmt::format("{} {}: expected {} to {}", option, value, least, most));
}

class GeneratedTask : public RulerTask {
 public:
  GeneratedTask(const TaskKind& kind, const Tokenizer& tokenizer, std::optional<TokenId> bos,
                std::shared_ptr<const RulerText> text, const RulerOptions& options)
      : kind_(kind),
        tokenizer_(tokenizer),
        options_(options),
        text_(std::move(text)),
        words_(ruler::load_words(options.words)) {
    check_options();
    form_ = ruler::load_prompt_forms(options.prompts).at(kind.form);
    if (options.chat) {
      frame_ = frame_of(*options.chat);
    } else {
      begin_ = bos;
    }
    if (kind.data == RulerData::kText) {
      if (!text_ || text_->words == 0) {
        throw std::invalid_argument(
            fmt::format("{}: expected a text to hide needles in (--text)", kind.name));
      }
    }
    if (kind.family == TaskKind::Family::kQa) load_questions();
    settings_ = describe();
  }

  std::string name() const override { return ruler::task_name(kind_); }
  std::string metric() const override { return ruler::task_metric(kind_); }
  std::string settings() const override { return settings_; }
  double score(const EvalPrompt& prompt, std::string_view prediction) const override {
    return ruler::task_score(kind_, prompt, prediction);
  }

  std::int64_t samples(std::int64_t context) const override {
    for (std::int64_t index = 0; index < options_.samples; ++index) {
      const Parts parts = parts_of(context, index);
      expect_fits(parts, context, index);
    }
    return options_.samples;
  }

  RulerSample sample(std::int64_t context, std::int64_t index) const override {
    if (index < 0 || index >= options_.samples) {
      throw std::invalid_argument(
          fmt::format("{}: sample {}: expected 0 to {}", kind_.name, index, options_.samples - 1));
    }
    const Parts parts = parts_of(context, index);
    expect_fits(parts, context, index);
    ruler::FittedText fitted =
        ruler::fit(tokenizer_, parts.before, *parts.draft, parts.after, context - overhead(),
                   fmt::format("{}: context {}, sample {}", kind_.name, context, index));
    RulerSample sample;
    sample.begin = begin_;
    sample.text = std::move(fitted.text);
    sample.prompt.tokens = std::move(fitted.tokens);
    if (begin_) sample.prompt.tokens.insert(sample.prompt.tokens.begin(), *begin_);
    sample.prompt.max_new_tokens = form_.max_new_tokens;
    sample.prompt.references = parts.draft->references;
    sample.prompt.depth = parts.draft->depth;
    return sample;
  }

 private:
  struct Parts {
    std::unique_ptr<Draft> draft;
    std::string before, after;  // of the context
  };

  void check_options() const {
    expect_from("ruler samples", options_.samples, 1, 1000000);
    expect_from("ruler needles", options_.needles, 1, 40);
    expect_from("ruler chains", options_.chains, 1, 100);
    expect_from("ruler hops", options_.hops, 1, 100);
  }

  void load_questions() {
    const bool is_squad = kind_.data == RulerData::kSquad;
    const std::filesystem::path& file = is_squad ? options_.squad : options_.hotpotqa;
    if (file.empty()) {
      throw std::invalid_argument(
          is_squad ? "qa_1: expected a file with SQuAD's questions (--squad dev-v2.0.json, or of "
                     "version 1.1)"
                   : "qa_2: expected a file with HotpotQA's questions (--hotpotqa "
                     "hotpot_dev_distractor_v1.json)");
    }
    qa_ = is_squad ? ruler::read_squad(file) : ruler::read_hotpotqa(file);
    const auto questions = static_cast<std::int64_t>(qa_.questions.size());
    if (options_.samples > questions) {
      throw std::invalid_argument(fmt::format("{}: {} samples: {} has {} questions with answers",
                                              kind_.name, options_.samples, file.string(),
                                              questions));
    }
    question_order_.resize(qa_.questions.size());
    std::iota(question_order_.begin(), question_order_.end(), std::int64_t{0});
    random().shuffle(question_order_);
  }

  Random random() const { return Random(options_.seed).split(ruler::hash_of(kind_.name)); }

  // Tokens of the context beside the prompt's text.
  std::int64_t overhead() const {
    return (begin_ ? 1 : 0) +
           (options_.length_of == RulerLength::kTotal ? form_.max_new_tokens : 0);
  }

  std::unique_ptr<Draft> draft(std::int64_t context, std::int64_t index) const {
    const Random random = this->random()
                              .split(static_cast<std::uint64_t>(context))
                              .split(static_cast<std::uint64_t>(index));
    const ruler::DraftSource source{options_, words_, text_.get(), &qa_, form_};
    switch (kind_.family) {
      case TaskKind::Family::kNiah: return ruler::draft_niah(kind_.niah, source, random);
      case TaskKind::Family::kVt: return ruler::draft_vt(source, random);
      case TaskKind::Family::kCwe: return ruler::draft_cwe(source, context, random);
      case TaskKind::Family::kFwe: return ruler::draft_fwe(context, random);
      case TaskKind::Family::kQa:
        return ruler::draft_qa(source, question_order_[static_cast<std::size_t>(index)], random);
    }
    throw std::logic_error("ruler: unknown family");
  }

  Parts parts_of(std::int64_t context, std::int64_t index) const {
    constexpr std::int64_t kLongest = std::int64_t{1} << 24;
    if (context < 1 || context > kLongest) {
      throw std::invalid_argument(
          fmt::format("{}: context {}: expected 1 to {}", kind_.name, context, kLongest));
    }
    Parts parts;
    parts.draft = draft(context, index);
    ruler::FilledPrompt filled = ruler::fill(form_, *parts.draft);
    if (options_.chat) {
      // Templates may trim the turn: it has no blanks at its ends.
      parts.before = frame_.head + trimmed(std::move(filled.before), true, false);
      parts.after =
          trimmed(std::move(filled.after), false, true) + frame_.tail + filled.answer_prefix;
    } else {
      parts.before = std::move(filled.before);
      parts.after = filled.after + (form_.is_built_in ? " " : "") + filled.answer_prefix;
    }
    return parts;
  }

  void expect_fits(const Parts& parts, std::int64_t context, std::int64_t index) const {
    const std::int64_t least =
        ruler::least_tokens(tokenizer_, parts.before, *parts.draft, parts.after) + overhead();
    if (least <= context) return;
    throw std::invalid_argument(
        fmt::format("{}: context {}: sample {} takes {} tokens or more: ask for a longer context",
                    kind_.name, context, index, least));
  }

  std::string describe() const {
    nlohmann::ordered_json json;
    json["seed"] = options_.seed;
    json["length_of"] = options_.length_of == RulerLength::kTotal ? "total" : "prompt";
    json["max_new_tokens"] = form_.max_new_tokens;
    json["begin"] = begin_ ? nlohmann::ordered_json(*begin_) : nlohmann::ordered_json();
    json["chat"] = options_.chat
                       ? nlohmann::ordered_json(hash_text(frame_.head + '\0' + frame_.tail))
                       : nlohmann::ordered_json();
    json["prompts"] = options_.prompts.empty() ? "built-in" : hash_file(options_.prompts);
    const bool has_words =
        kind_.family == TaskKind::Family::kNiah || kind_.family == TaskKind::Family::kCwe;
    if (has_words) json["words"] = options_.words.empty() ? "built-in" : hash_file(options_.words);
    if (kind_.niah.many_keys || kind_.niah.many_values || kind_.niah.many_queries) {
      json["needles"] = options_.needles;
    }
    if (kind_.family == TaskKind::Family::kVt) {
      json["chains"] = options_.chains;
      json["hops"] = options_.hops;
    }
    if (kind_.data == RulerData::kText) json["text"] = hash_text(text_->text);
    if (kind_.data == RulerData::kSquad) json["squad"] = hash_file(options_.squad);
    if (kind_.data == RulerData::kHotpotqa) json["hotpotqa"] = hash_file(options_.hotpotqa);
    return json.dump();
  }

  const TaskKind& kind_;
  const Tokenizer& tokenizer_;
  RulerOptions options_;
  std::shared_ptr<const RulerText> text_;
  ruler::Words words_;
  ruler::PromptForm form_;
  ChatFrame frame_;
  std::optional<TokenId> begin_;
  ruler::QaData qa_;
  std::vector<std::int64_t> question_order_;  // sample -> question
  std::string settings_;
};

}  // namespace

std::unique_ptr<RulerTask> make_ruler_task(std::string_view name, const Tokenizer& tokenizer,
                                           std::optional<TokenId> bos,
                                           std::shared_ptr<const RulerText> text,
                                           const RulerOptions& options) {
  return std::make_unique<GeneratedTask>(ruler::task_kind(name), tokenizer, bos, std::move(text),
                                         options);
}

}  // namespace seer
