// LongBench: 21 datasets of questions, summaries, few-shot examples, synthetic tasks and code, in English and Chinese (Bai
// et al., "LongBench: A Bilingual, Multitask Benchmark for Long Context Understanding", 2024, arXiv:2308.14508), from the
// published files. docs/evaluation.md has the protocol.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "seer/chat_template.h"
#include "seer/eval_task.h"
#include "seer/tokenizer.h"

namespace seer {

// narrativeqa, qasper, ..., repobench-p: the published order.
const std::vector<std::string>& longbench_task_names();
// Those of LongBench-E, whose lengths are spread evenly: qasper_e, ..., repobench-p_e; 13.
const std::vector<std::string>& longbench_e_task_names();
// Where make_longbench_task() looks for its rows: folder/<name>.jsonl. Throws std::invalid_argument that lists the names
// for one that is no task's.
std::filesystem::path longbench_file(const std::filesystem::path& folder, std::string_view name);

struct LongBenchOptions {
  std::filesystem::path folder;  // of the published <name>.jsonl
  // Of each dataset. 0: all rows; otherwise at most so many, evenly over the file: sample i of n is row floor(i * N / n).
  std::int64_t samples = 0;
  // Null: plain text for base models. Otherwise the prompt is the user's turn, but for the datasets that the published
  // program leaves plain: trec, triviaqa, samsum, lsht, lcc and repobench-p. A template that prints the date makes samples
  // depend on its clock: set it.
  std::shared_ptr<const ChatTemplate> chat;
  // JSON, dataset -> template with {context} and {input}, as the published dataset2prompt.json; what it has not, and an
  // empty path: the built-in wording.
  std::filesystem::path prompts;
  // The published program's max_length: a prompt is cut to so many tokens, begin-of-text included, before the chat
  // template is put around it. 0: to what the context has room for.
  std::int64_t prompt_tokens = 0;
};

// "longbench/<name>"; metric() is that of seer/text_metrics.h: qa_f1, qa_f1_zh, rouge_l, rouge_l_zh, classification,
// paragraph, paragraph_zh, count or code_similarity. EvalPrompt::subset is the row's published length in words (characters
// of Chinese): "0-4k", "4-8k" or "8k+". score() is the best over the references.
//
// `bos` is the begin-of-text token in front of plain text, where the model has one; a chat template writes its own. Prompt
// and tokens to be generated are `context` tokens or fewer: a longer prompt loses its middle, its halves stay. `tokenizer`
// must outlive the task.
//
// Throws std::invalid_argument naming the option or the name; std::runtime_error naming the file, its line and the field.
// samples() and prompt() throw std::invalid_argument for a context without room for a prompt.
std::unique_ptr<EvalTask> make_longbench_task(std::string_view name, const Tokenizer& tokenizer,
                                              std::optional<TokenId> bos,
                                              const LongBenchOptions& options);

}  // namespace seer
