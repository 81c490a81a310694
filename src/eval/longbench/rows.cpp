#include "eval/longbench/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "base/quote.h"

namespace seer::longbench {
namespace {

[[noreturn]] void fail(const std::string& place, const char* expected, const char* field) {
  throw std::runtime_error(fmt::format("{}: expected {} in field '{}'", place, expected, field));
}

std::string text_field(const Json& row, const char* field, const std::string& place) {
  const auto found = row.find(field);
  if (found == row.end() || !found->is_string()) fail(place, "a text", field);
  return found->get<std::string>();
}

std::vector<std::string> texts_field(const Json& row, const char* field, const std::string& place) {
  const auto found = row.find(field);
  const bool are_texts =
      found != row.end() && found->is_array() && !found->empty() &&
      std::all_of(found->begin(), found->end(), [](const Json& item) { return item.is_string(); });
  if (!are_texts) fail(place, "a list of one or more texts", field);
  return found->get<std::vector<std::string>>();
}

// A file under another one's name would be scored by the wrong metric.
void expect_rows_of(const Dataset& dataset, const Json& row, const std::string& place) {
  const auto found = row.find("dataset");
  if (found == row.end() || !found->is_string()) return;
  std::string_view name = found->get_ref<const std::string&>();
  if (name.ends_with("_e")) name.remove_suffix(2);
  for (const Dataset& other : datasets()) {
    if (name == other.name && name != dataset.name) {
      throw std::runtime_error(fmt::format("{}: the row is one of {}, expected one of {}", place,
                                           other.name, dataset.name));
    }
  }
}

Row read_row(const Json& json, const std::string& place, const Dataset& dataset) {
  if (!json.is_object()) {
    throw std::runtime_error(place + ": expected an object {input, context, answers, length, ...}");
  }
  expect_rows_of(dataset, json, place);
  Row row;
  row.input = text_field(json, "input", place);
  row.context = text_field(json, "context", place);
  row.answers = texts_field(json, "answers", place);
  if (needs_classes(dataset)) row.classes = texts_field(json, "all_classes", place);
  const auto length = json.find("length");
  if (length == json.end() || !length->is_number_unsigned()) {
    fail(place, "an integer from 0", "length");
  }
  row.length =
      static_cast<std::int64_t>(std::min(length->get<std::uint64_t>(), std::uint64_t{1} << 62));
  try {
    // An answer that its metric cannot read, such as a paragraph without a number.
    score(dataset, "", row.answers, row.classes);
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(fmt::format("{}: field 'answers': {}", place, error.what()));
  }
  return row;
}

}  // namespace

std::vector<Row> parse_rows(std::string_view text, const std::string& source,
                            const Dataset& dataset) {
  std::vector<Row> rows;
  std::size_t line = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line;
    if (part.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", source, line);
    rows.push_back(read_row(parse_json(part, place), place, dataset));
  }
  if (rows.empty()) throw std::runtime_error(source + ": holds no rows");
  return rows;
}

}  // namespace seer::longbench
