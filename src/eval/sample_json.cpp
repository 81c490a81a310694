#include <fmt/format.h>

#include <cmath>
#include <map>
#include <stdexcept>

#include "base/json.h"
#include "base/quote.h"
#include "seer/eval.h"

namespace seer {
namespace {

// Reads the fields of one line; messages say which field of which line.
class Fields {
 public:
  Fields(const Json& json, const std::string& source) : json_(json), source_(source) {
    if (!json.is_object()) fail(source, "expected an object, got " + std::string(json.type_name()));
  }

  std::string text(const char* name) const {
    const Json& value = require(name);
    if (!value.is_string()) wrong(name, value, "a text");
    return value.get<std::string>();
  }
  double number(const char* name) const {
    const Json& value = require(name);
    if (!value.is_number()) wrong(name, value, "a number");
    return value.get<double>();
  }
  std::int64_t count(const char* name) const {
    const Json& value = require(name);
    // Above int64's range nlohmann's unsigned numbers would wrap around.
    if (!value.is_number_integer() || value < 0 || value > INT64_MAX) {
      wrong(name, value, "an integer from 0");
    }
    return value.get<std::int64_t>();
  }
  std::vector<double> numbers(const char* name) const {
    const Json& value = require(name);
    if (!value.is_array()) wrong(name, value, "a list of numbers");
    std::vector<double> list;
    for (const Json& item : value) {
      if (!item.is_number()) wrong(name, item, "a list of numbers");
      list.push_back(item.get<double>());
    }
    return list;
  }
  std::vector<std::string> texts(const char* name) const {
    const Json& value = require(name);
    if (!value.is_array()) wrong(name, value, "a list of texts");
    std::vector<std::string> list;
    for (const Json& item : value) {
      if (!item.is_string()) wrong(name, item, "a list of texts");
      list.push_back(item.get<std::string>());
    }
    return list;
  }
  std::vector<std::vector<double>> rows(const char* name) const {
    const Json& value = require(name);
    if (!value.is_array()) wrong(name, value, "a list of lists of numbers");
    std::vector<std::vector<double>> list;
    for (const Json& row : value) {
      if (!row.is_array()) wrong(name, row, "a list of lists of numbers");
      list.emplace_back();
      for (const Json& item : row) {
        if (!item.is_number()) wrong(name, item, "a list of lists of numbers");
        list.back().push_back(item.get<double>());
      }
    }
    return list;
  }
  bool has(const char* name) const { return json_.contains(name); }
  std::optional<double> optional_number(const char* name) const {
    if (!has(name)) return std::nullopt;
    return number(name);
  }
  std::optional<bool> optional_flag(const char* name) const {
    const auto found = json_.find(name);
    if (found == json_.end()) return std::nullopt;
    if (!found->is_boolean()) wrong(name, *found, "true or false");
    return found->get<bool>();
  }
  const Json& object(const char* name) const {
    const Json& value = require(name);
    if (!value.is_object()) wrong(name, value, "an object");
    return value;
  }

 private:
  [[noreturn]] static void fail(const std::string& source, const std::string& what) {
    throw std::runtime_error(source + ": " + what + "; is this a result of `seer eval`?");
  }
  [[noreturn]] void wrong(const char* name, const Json& value, const char* expected) const {
    fail(source_, fmt::format("{}: expected {}, got {}", name, expected,
                              value.is_primitive() ? printable(value.dump(), 60)
                                                   : std::string(value.type_name())));
  }
  const Json& require(const char* name) const {
    const auto found = json_.find(name);
    if (found == json_.end()) fail(source_, fmt::format("the field {} is missing", name));
    return *found;
  }

  const Json& json_;
  const std::string& source_;
};

// Files of earlier versions have no metric: their tasks have one each.
std::string metric_of(const Fields& fields, const std::string& task) {
  const std::map<std::string, std::string> old = {
      {"ppl", "perplexity"}, {"niah", "retrieval"}, {"recall", "recall"}};
  const auto found = old.find(task);
  return fields.has("metric") || found == old.end() ? fields.text("metric") : found->second;
}

}  // namespace

std::string EvalSample::to_json() const {
  nlohmann::ordered_json line;
  line["task"] = task;
  line["metric"] = metric;
  line["policy"] = policy;
  line["gates"] = gates;
  line["context"] = context;
  line["sample"] = sample;
  if (!subset.empty()) line["subset"] = subset;
  if (depth) line["depth"] = *depth;
  if (nll) line["nll"] = *nll;
  if (answer_tokens) {
    line["retrieved"] = score == 1.0;
    line["answer_tokens"] = *answer_tokens;
  } else if (score) {
    line["score"] = *score;
    line["prediction"] = prediction;
    line["references"] = references;
    line["generated_tokens"] = generated_tokens;
    line["decode_seconds"] = decode_seconds;
  }
  line["prompt_tokens"] = prompt_tokens;
  line["density"] = density;
  if (recall) line["recall"] = *recall;
  line["seconds"] = seconds;
  line["selection_seconds"] = selection_seconds;
  line["attention_seconds"] = attention_seconds;
  line["prefill_tokens_per_second"] = tokens_per_second();
  if (peak_memory > 0) line["peak_memory"] = peak_memory;
  line["layer_density"] = layer_density;
  if (recall) line["layer_recall"] = layer_recall;
  if (!head_density.empty()) {
    nlohmann::ordered_json& rows = line["head_density"] = nlohmann::ordered_json::array();
    for (const std::vector<double>& heads : head_density) {
      nlohmann::ordered_json row = nlohmann::ordered_json::array();
      // Shares of some thousand blocks: more digits would say nothing.
      for (const double share : heads) row.push_back(std::round(share * 1e5) / 1e5);
      rows.push_back(std::move(row));
    }
  }
  line["configuration"] = nlohmann::ordered_json::parse(configuration);
  line["origin"] = {{"version", origin.version}, {"commit", origin.commit},
                    {"cpu", origin.cpu},         {"isa", origin.isa},
                    {"torch", origin.torch},     {"threads", origin.threads},
                    {"started", origin.started}};
  // Names of folders need not be UTF-8.
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

EvalSample EvalSample::parse(std::string_view json, const std::string& source) {
  const Json line = parse_json(json, source);
  const Fields fields(line, source);
  EvalSample sample;
  sample.task = fields.text("task");
  sample.metric = metric_of(fields, sample.task);
  sample.policy = fields.text("policy");
  sample.gates = fields.text("gates");
  sample.context = fields.count("context");
  sample.sample = fields.count("sample");
  if (fields.has("subset")) sample.subset = fields.text("subset");
  sample.depth = fields.optional_number("depth");
  sample.nll = fields.optional_number("nll");
  if (const std::optional<bool> retrieved = fields.optional_flag("retrieved")) {
    sample.score = *retrieved ? 1 : 0;
    sample.answer_tokens = fields.number("answer_tokens");
  } else if (fields.has("score")) {
    sample.score = fields.number("score");
    sample.prediction = fields.text("prediction");
    sample.references = fields.texts("references");
    sample.generated_tokens = fields.count("generated_tokens");
    sample.decode_seconds = fields.number("decode_seconds");
  }
  sample.prompt_tokens =
      fields.has("prompt_tokens") ? fields.count("prompt_tokens") : sample.context;
  sample.density = fields.number("density");
  sample.recall = fields.optional_number("recall");
  sample.seconds = fields.number("seconds");
  sample.selection_seconds = fields.number("selection_seconds");
  sample.attention_seconds = fields.number("attention_seconds");
  if (fields.has("peak_memory")) {
    sample.peak_memory = static_cast<std::uint64_t>(fields.count("peak_memory"));
  }
  sample.layer_density = fields.numbers("layer_density");
  if (sample.recall) sample.layer_recall = fields.numbers("layer_recall");
  if (fields.has("head_density")) sample.head_density = fields.rows("head_density");
  // Keys in the order of the text, as Evaluator::configuration() has them.
  fields.object("configuration");
  sample.configuration = nlohmann::ordered_json::parse(json)["configuration"].dump();
  const Fields origin(fields.object("origin"), source);
  sample.origin = {.version = origin.text("version"),
                   .commit = origin.text("commit"),
                   .cpu = origin.text("cpu"),
                   .isa = origin.text("isa"),
                   .torch = origin.text("torch"),
                   .threads = static_cast<int>(origin.count("threads")),
                   .started = origin.text("started")};
  return sample;
}

bool EvalSample::is_same(const EvalSample& other) const {
  return task == other.task && policy == other.policy && gates == other.gates &&
         context == other.context && sample == other.sample;
}

}  // namespace seer
