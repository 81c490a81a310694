#include "eval/ruler/prompts.h"

#include <fmt/format.h>

#include <stdexcept>

#include "base/json.h"
#include "base/quote.h"
#include "eval/placeholders.h"

namespace seer::ruler {
namespace {

PromptForms built_in() {
  PromptForms forms;
  forms["niah"] = {.text =
                       "The text below hides some special magic {type_needle_v}. Keep them in "
                       "mind: you will be asked for them "
                       "at the end.\n\n{context}\n\nWhat are the special magic {type_needle_v} for "
                       "{query} mentioned in the "
                       "text?",
                   .answer_prefix = "The special magic {type_needle_v} for {query} are:",
                   .text_one =
                       "The text below hides a special magic {type_needle_v}. Keep it in mind: you "
                       "will be asked for it at "
                       "the end.\n\n{context}\n\nWhat is the special magic {type_needle_v} for "
                       "{query} mentioned in the "
                       "text?",
                   .answer_prefix_one = "The special magic {type_needle_v} for {query} is:",
                   .needle = "One of the special magic {type_needle_v} for {key} is: {value}.",
                   .max_new_tokens = 128};
  forms["variable_tracking"] = {
      .text =
          "The text below assigns values to variables, some of them through other variables. "
          "Follow the "
          "assignments.\n\n{context}\n\nQuestion: Which variables have the value {query}, directly "
          "or through "
          "others?",
      .answer_prefix = "Answer: The {num_v} variables that have the value {query} are:",
      .max_new_tokens = 30};
  forms["common_words_extraction"] = {
      .text =
          "Here is a numbered list of words. A few of them occur far more often than the rest. "
          "Find those.\n\n"
          "{context}\n\nQuestion: Which {num_v} words occur most often in the list?",
      .answer_prefix = "Answer: The {num_v} words that occur most often are:",
      .max_new_tokens = 120};
  forms["freq_words_extraction"] = {
      .text =
          "The text below is in code. Count how often each coded word occurs; dots and other "
          "marks are not words.\n\n{context}\n\n"
          "Question: Which three coded words occur most often? Leave out the marks and give no "
          "explanation.",
      .answer_prefix = "Answer: The three coded words that occur most often are:",
      .max_new_tokens = 50};
  forms["qa"] = {
      .text =
          "Find the answer to a question in the documents below. Reply with the answer only.\n\n"
          "{context}\n\nReply with the answer only, from the documents above.\n\nQuestion: {query}",
      .answer_prefix = "Answer:",
      .max_new_tokens = 32};
  return forms;
}

[[noreturn]] void fail(const std::string& place, const std::string& what) {
  throw std::runtime_error(place + ": " + what);
}

std::string text_field(const Json& object, const std::string& name, const std::string& place) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) {
    fail(place, "expected a text in field '" + name + "'");
  }
  return found->get<std::string>();
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at; (at = text.find(from)) != std::string_view::npos;) {
    result += text.substr(0, at);
    result += to;
    text.remove_prefix(at + from.size());
  }
  result += text;
  return result;
}

// The published program's rule for a single value, to the letter.
std::string in_singular(const std::string& text) {
  return replace_all(
      replace_all(replace_all(replace_all(text, "Some", "A"), "are all", "is"), "are", "is"),
      "answers", "answer");
}

void check_template(const std::string& text, const std::string& place) {
  constexpr std::string_view kContext = "{context}";
  const std::size_t at = text.find(kContext);
  if (at == std::string::npos || text.find(kContext, at + 1) != std::string::npos) {
    fail(place, "expected {context} once in the template");
  }
}

PromptForm read_form(const Json& json, const std::string& family, const PromptForm& built_in_form,
                     const std::string& place) {
  if (!json.is_object()) fail(place, "expected an object {template, answer_prefix}");
  const bool is_niah = family == "niah";
  PromptForm form;
  form.is_built_in = false;
  form.needle = built_in_form.needle;
  form.max_new_tokens = built_in_form.max_new_tokens;
  for (const auto& [key, value] : json.items()) {
    const std::string field = place + "." + printable(key, 40);
    if (key == "tokens_to_generate") {
      if (!value.is_number_integer() || value.get<std::int64_t>() < 1) {
        fail(field, "expected an integer from 1");
      }
      form.max_new_tokens = value.get<std::int64_t>();
    } else if (key == "template" || key == "answer_prefix" ||
               (is_niah &&
                (key == "template_one" || key == "answer_prefix_one" || key == "needle"))) {
      if (!value.is_string()) fail(field, "expected a text");
    } else {
      fail(field, is_niah ? "unknown; expected template, answer_prefix, tokens_to_generate, "
                            "template_one, answer_prefix_one or needle"
                          : "unknown; expected template, answer_prefix or tokens_to_generate");
    }
  }
  form.text = text_field(json, "template", place);
  check_template(form.text, place + ".template");
  form.answer_prefix = text_field(json, "answer_prefix", place);
  if (json.contains("template_one") != json.contains("answer_prefix_one")) {
    fail(place, "expected template_one and answer_prefix_one together");
  }
  if (json.contains("template_one")) {
    form.text_one = text_field(json, "template_one", place);
    check_template(form.text_one, place + ".template_one");
    form.answer_prefix_one = text_field(json, "answer_prefix_one", place);
  }
  if (json.contains("needle")) {
    form.needle = text_field(json, "needle", place);
    for (const char* const needed : {"{key}", "{value}"}) {
      if (form.needle.find(needed) == std::string::npos) {
        fail(place + ".needle", fmt::format("expected {} in it", needed));
      }
    }
  }
  return form;
}

}  // namespace

PromptForms load_prompt_forms(const std::filesystem::path& file) {
  PromptForms forms = built_in();
  if (file.empty()) return forms;
  const Json json = read_json_file(file);
  if (!json.is_object())
    fail(file.string(), "expected an object: family -> {template, answer_prefix}");
  for (const auto& [family, form] : json.items()) {
    const auto known = forms.find(family);
    if (known == forms.end()) {
      std::string names;
      for (const auto& [name, unused] : forms) names += (names.empty() ? "" : ", ") + name;
      fail(file.string(), "unknown family " + quote(family) + ", expected some of: " + names);
    }
    known->second = read_form(form, family, known->second, file.string() + ": " + family);
  }
  return forms;
}

namespace {

std::string value_type(bool is_uuid, bool is_one) {
  return std::string(is_uuid ? "uuid" : "number") + (is_one ? "" : "s");
}

}  // namespace

FilledPrompt fill(const PromptForm& form, const Draft& draft) {
  const bool is_niah = !form.needle.empty();
  const bool is_one = is_niah && draft.answers == 1;
  std::string text = form.text, prefix = form.answer_prefix;
  if (is_one && !form.text_one.empty()) {
    text = form.text_one;
    prefix = form.answer_prefix_one;
  } else if (is_one) {
    text = in_singular(text);
    prefix = in_singular(prefix);
  }
  const std::map<std::string, std::string, std::less<>> values = {
      {"query", draft.query},
      {"num_v", std::to_string(draft.answers)},
      {"type_needle_v", value_type(draft.has_uuid_values, is_one)}};
  constexpr std::string_view kContext = "{context}";
  const std::size_t at = text.find(kContext);
  FilledPrompt filled;
  filled.before =
      draft.example + replace_placeholders(std::string_view(text).substr(0, at), values);
  filled.after = replace_placeholders(std::string_view(text).substr(at + kContext.size()), values);
  filled.answer_prefix = replace_placeholders(prefix, values);
  return filled;
}

std::string needle_sentence(const PromptForm& form, const std::string& key,
                            const std::string& value, bool is_uuid) {
  return replace_placeholders(
      form.needle, {{"type_needle_v", value_type(is_uuid, false)}, {"key", key}, {"value", value}});
}

}  // namespace seer::ruler
