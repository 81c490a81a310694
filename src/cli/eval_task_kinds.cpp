#include "cli/eval_task_kinds.h"

#include <map>
#include <stdexcept>
#include <utility>

#include "cli/eval_longbench.h"
#include "cli/eval_ruler.h"
#include "cli/flag_checks.h"
#include "seer/perplexity_tasks.h"
#include "seer/retrieval_tasks.h"

namespace seer::cli {
namespace {

using Tasks = std::vector<std::shared_ptr<const EvalTask>>;

TokenId begin_of_text(const EvalTaskData& data) {
  if (data.config.bos_token) return *data.config.bos_token;
  throw std::invalid_argument(
      "config.json: bos_token_id is missing: evaluation texts begin with this token");
}

class WindowKind : public EvalTaskKind {
 public:
  const char* description() const override { return "Perplexity of text"; }
  void add_flags(CLI::App& command) override {
    add_integer(command, "--windows", windows_, "Windows of text of each context");
  }
  Tasks make(const EvalTaskData& data) const override {
    return {make_window_perplexity(data.text, begin_of_text(data), windows_)};
  }

 protected:
  std::int64_t windows_ = 8;
};

class RecallKind final : public WindowKind {
 public:
  const char* description() const override {
    return "Share of the true attention that falls into the blocks a policy keeps";
  }
  bool is_recall() const override { return true; }
  Tasks make(const EvalTaskData& data) const override {
    return {make_window_recall(data.text, begin_of_text(data), windows_)};
  }
};

class DocumentKind final : public EvalTaskKind {
 public:
  const char* description() const override {
    return "Perplexity of documents, one window each, as papers measure PG19";
  }
  void add_flags(CLI::App& command) override {
    add_integer(command, "--min-tokens", options_.min_tokens,
                "Documents of fewer tokens are left out, at every context");
    add_integer(command, "--documents", options_.documents, "At most so many; 0: all");
    command.add_flag("--no-truncate", no_truncate_,
                     "Whole documents that fit, in place of the first tokens of those that do not");
  }
  Tasks make(const EvalTaskData& data) const override {
    DocumentPerplexityOptions options = options_;
    options.truncate = !no_truncate_;
    return {make_document_perplexity(data.text, begin_of_text(data), options)};
  }

 private:
  DocumentPerplexityOptions options_;
  bool no_truncate_ = false;
};

class SlidingKind final : public EvalTaskKind {
 public:
  const char* description() const override {
    return "Perplexity of text by sliding windows, of which the last tokens count";
  }
  void add_flags(CLI::App& command) override {
    add_integer(command, "--stride", options_.stride, "Tokens that count in each window");
    add_integer(command, "--windows", options_.windows, "At most so many, evenly chosen; 0: all");
  }
  Tasks make(const EvalTaskData& data) const override {
    return {make_sliding_perplexity(data.text, begin_of_text(data), options_)};
  }

 private:
  SlidingPerplexityOptions options_;
};

class NeedleKind final : public EvalTaskKind {
 public:
  const char* description() const override {
    return "Retrieval: numbers that a long text states, asked for at its end";
  }
  void add_flags(CLI::App& command) override {
    add_integer(command, "--samples", options_.samples, "Documents of each context");
    add_integer(command, "--needles", options_.needles, "Sentences with a number in a document");
    command
        .add_option("--words", words_, "What needles are about: invented words, or those of text")
        ->capture_default_str()
        ->check(CLI::IsMember({"invented", "text"}));
  }
  Tasks make(const EvalTaskData& data) const override {
    NeedleTaskOptions options = options_;
    options.seed = data.seed;
    if (words_ == "text") options.words = WordSet::kText;
    return {make_needle_task(data.text, data.tokenizer, begin_of_text(data), options)};
  }

 private:
  NeedleTaskOptions options_;
  std::string words_ = "invented";
};

class NeedleGridKind final : public EvalTaskKind {
 public:
  const char* description() const override {
    return "Retrieval of a number at each depth of the text: a grid of depth and length";
  }
  void add_flags(CLI::App& command) override {
    add_integer(command, "--depths", options_.depths, "Depths, evenly from begin to end");
    add_integer(command, "--repeats", options_.repeats, "Documents at each depth");
    add_integer(command, "--needles", options_.needles, "Sentences with a number in a document");
  }
  Tasks make(const EvalTaskData& data) const override {
    NeedleGridOptions options = options_;
    options.seed = data.seed;
    return {make_needle_grid(data.text, data.tokenizer, begin_of_text(data), options)};
  }

 private:
  NeedleGridOptions options_;
};

template <typename Kind>
std::unique_ptr<EvalTaskKind> make_kind() {
  return std::make_unique<Kind>();
}

using Maker = std::unique_ptr<EvalTaskKind> (*)();

// In the order of the help.
const std::vector<std::pair<std::string, Maker>>& kinds() {
  static const std::vector<std::pair<std::string, Maker>> all = {
      {"ppl", make_kind<WindowKind>},           {"ppl-documents", make_kind<DocumentKind>},
      {"ppl-sliding", make_kind<SlidingKind>},  {"niah", make_kind<NeedleKind>},
      {"niah-grid", make_kind<NeedleGridKind>}, {"ruler", make_ruler_kind},
      {"recall", make_kind<RecallKind>},
  };
  return all;
}

}  // namespace

const std::vector<std::string>& eval_task_kind_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const auto& [name, make] : kinds()) list.push_back(name);
    return list;
  }();
  return names;
}

std::unique_ptr<EvalTaskKind> make_eval_task_kind(std::string_view name) {
  for (const auto& [known, make] : kinds()) {
    if (known == name) return make();
  }
  throw std::logic_error("no kind of task: " + std::string(name));
}

}  // namespace seer::cli
