// A sample whose length is still open: what each kind of task makes.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/ruler/qa_data.h"
#include "eval/ruler/random.h"
#include "eval/ruler/words.h"
#include "seer/ruler.h"

namespace seer::ruler {

// The context is as long as its number of units says, whatever a unit is: a sentence, a word, a needle.
class Draft {
 public:
  Draft() = default;
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  virtual ~Draft() = default;

  virtual std::int64_t least() const { return 0; }
  virtual std::int64_t most() const { return std::numeric_limits<std::int64_t>::max(); }
  // What runs out at most(), as a message's first words: "--text: its 300 words".
  virtual std::string limit() const { return {}; }
  // Grows with `units`, which is least() to most(); each call with the same number gives the same text.
  virtual std::string context(std::int64_t units) = 0;

  std::string filler_lead;  // between the context and filler words: a line's end where lines count
  std::string example;  // solved, in front of the task; the families that are published with one
  std::string query;    // what is asked for
  std::int64_t answers = 1;
  bool has_uuid_values = false;  // niah: else numbers
  std::vector<std::string> references;
  std::optional<double> depth;
};

struct PromptForm;

// What drafts are made from.
struct DraftSource {
  const RulerOptions& options;
  const Words& words;
  const RulerText* text;   // may be null
  const QaData* qa;        // may be null
  const PromptForm& form;  // of the family
};

// How a task hides its needles.
struct NiahKind {
  enum class Haystack { kNoise, kText, kNeedles };
  Haystack haystack = Haystack::kNoise;
  bool uuid_keys = false;
  bool uuid_values = false;
  bool many_keys = false, many_values = false,
       many_queries = false;  // RulerOptions::needles, else 1
};

std::unique_ptr<Draft> draft_niah(const NiahKind& kind, const DraftSource& source, Random random);
std::unique_ptr<Draft> draft_vt(const DraftSource& source, Random random);
// `context` scales how often common words are repeated, as published.
std::unique_ptr<Draft> draft_cwe(const DraftSource& source, std::int64_t context, Random random);
// `context` scales the vocabulary.
std::unique_ptr<Draft> draft_fwe(std::int64_t context, Random random);
// `index` is the sample's number, which chooses the question.
std::unique_ptr<Draft> draft_qa(const DraftSource& source, std::int64_t index, Random random);

}  // namespace seer::ruler
