// The words around a context.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "eval/ruler/draft.h"

namespace seer::ruler {

// Of one family of tasks, with placeholders in braces.
struct PromptForm {
  std::string text;  // "template" in files: {context} once; {query}, {type_needle_v}, {num_v}
  std::string
      answer_prefix;  // what the answer begins with; the same placeholders without {context}
  // niah where a single value is asked for; empty: the two above in the published program's singular.
  std::string text_one = {}, answer_prefix_one = {};
  std::string needle = {};  // niah: {type_needle_v}, {key}, {value}
  std::int64_t max_new_tokens = 0;
  bool is_built_in = true;
};

// "niah", "variable_tracking", "common_words_extraction", "freq_words_extraction", "qa".
using PromptForms = std::map<std::string, PromptForm, std::less<>>;

// The built-in forms with what the file (if any) has instead of them. Throws std::runtime_error naming file and key.
PromptForms load_prompt_forms(const std::filesystem::path& file);

// A form with everything filled in but the context, which stands between `before` and `after`.
struct FilledPrompt {
  std::string before, after, answer_prefix;
};
FilledPrompt fill(const PromptForm& form, const Draft& draft);

std::string needle_sentence(const PromptForm& form, const std::string& key,
                            const std::string& value, bool is_uuid);

}  // namespace seer::ruler
