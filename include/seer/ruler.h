// RULER: thirteen tasks of retrieval, tracing, counting and answering at any context length (Hsieh et al., "RULER: What's
// the Real Context Size of Your Long-Context Language Models?", 2024, arXiv:2404.06654), generated here, or read from
// files that the published program wrote. docs/evaluation.md has the protocol.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seer/chat_template.h"
#include "seer/eval_task.h"
#include "seer/tokenizer.h"
#include "seer/training_data.h"

namespace seer {

// niah_single_1 to 3, niah_multikey_1 to 3, niah_multivalue, niah_multiquery, vt, cwe, fwe, qa_1, qa_2: the paper's order.
const std::vector<std::string>& ruler_task_names();

// What a task needs besides a tokenizer.
enum class RulerData { kNothing, kText, kSquad, kHotpotqa };
// Throws std::invalid_argument that lists the names for one that is no task's.
RulerData ruler_task_data(std::string_view name);

// Text to hide needles in, with single blanks between words.
struct RulerText {
  std::string text;
  std::int64_t words = 0;
};
std::shared_ptr<const RulerText> ruler_text(std::string_view text);
// The stream's documents behind each other, without special tokens.
std::shared_ptr<const RulerText> ruler_text(const TokenStream& stream, const Tokenizer& tokenizer);

enum class RulerLength {
  kTotal,   // prompt and generated tokens together, as published
  kPrompt,  // the prompt alone
};

struct RulerOptions {
  std::int64_t samples = 25;  // of each context
  std::uint64_t seed = 0;
  RulerLength length_of = RulerLength::kTotal;  // what a context counts
  std::int64_t needles = 4;  // keys of multikey_1, values of multivalue, queries of multiquery
  std::int64_t chains = 1;   // vt
  std::int64_t hops = 4;     // vt: assignments of each chain behind its first
  // Null: plain text for base models. Otherwise the prompt is the user's turn, and the answer's first words stand behind
  // the assistant's header. A template that prints the date makes samples depend on its clock: set it.
  std::shared_ptr<const ChatTemplate> chat;
  std::filesystem::path
      prompts;  // JSON, family -> {template, answer_prefix}; empty: the built-in wording
  std::filesystem::path words;  // JSON {adjectives, nouns, words}: lists of texts; empty: built in
  std::filesystem::path squad;  // qa_1: SQuAD 1.1 or 2.0, such as dev-v2.0.json
  std::filesystem::path hotpotqa;  // qa_2: HotpotQA, such as hotpot_dev_distractor_v1.json
};

struct RulerSample {
  EvalPrompt prompt;
  // What the tokens were made from: `begin`, and the ids of `text`, encoded without adding special tokens.
  std::string text;
  std::optional<TokenId> begin;
};

class RulerTask : public EvalTask {
 public:
  // The prompt with its text. prompt() returns the same without it.
  virtual RulerSample sample(std::int64_t context, std::int64_t index) const = 0;
  EvalPrompt prompt(std::int64_t context, std::int64_t index) const override;
};

// A generated task. `bos` is the begin-of-text token in front of plain text, where the model has one; a chat template
// writes its own. `text` may be null unless ruler_task_data() says kText. `tokenizer` must outlive the task.
//
// The prompt and, unless length_of says otherwise, the tokens to be generated are exactly `context` tokens, or prompt()
// throws: std::invalid_argument naming the task, the context and the least one where it is too short, or the data where
// there is too little to fill it; std::runtime_error where this tokenizer cannot hit the length. The constructor throws
// std::invalid_argument naming the option, std::runtime_error naming the file and what is wrong with it.
std::unique_ptr<RulerTask> make_ruler_task(std::string_view name, const Tokenizer& tokenizer,
                                           std::optional<TokenId> bos,
                                           std::shared_ptr<const RulerText> text,
                                           const RulerOptions& options);

// The rows of a JSONL file: {index, input, outputs} of the published program or of write_ruler_jsonl(). `input`, with the
// row's `answer_prefix` behind it where it has one, is the prompt to the letter; `bos` is put in front unless the text
// begins with it. Of rows with `task` those of this task count, of rows with `context` those of the asked context; rows
// without must fit into the context with the tokens to be generated.
std::unique_ptr<RulerTask> make_ruler_file_task(const std::filesystem::path& file,
                                                std::string_view name, const Tokenizer& tokenizer,
                                                std::optional<TokenId> bos);

// One row, without the line's end: index, input, outputs, length (prompt and generated tokens), as published; and task,
// context, prompt_tokens, max_new_tokens, begin (the token in front of input, or null), depth.
std::string ruler_json(const RulerTask& task, const Tokenizer& tokenizer, std::int64_t context,
                       std::int64_t index);

// All samples of the tasks at the contexts, a row each; the file is complete or absent. `on_row` is called before each row
// with the rows done and their total; it may throw, to give up.
void write_ruler_jsonl(const std::vector<std::unique_ptr<RulerTask>>& tasks,
                       const Tokenizer& tokenizer, const std::vector<std::int64_t>& contexts,
                       const std::filesystem::path& file,
                       const std::function<void(std::int64_t, std::int64_t)>& on_row = {});

// The share of references that the prediction contains, letters' case aside; and whether it contains any of them.
double string_match_all(std::string_view prediction, const std::vector<std::string>& references);
double string_match_part(std::string_view prediction, const std::vector<std::string>& references);

}  // namespace seer
