#include <fmt/format.h>

#include <stdexcept>

#include "base/json.h"
#include "base/quote.h"
#include "eval/sample_json.h"

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
  std::optional<double> optional_number(const char* name) const {
    if (!json_.contains(name)) return std::nullopt;
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

}  // namespace

std::string_view eval_task_name(EvalTask task) {
  switch (task) {
    case EvalTask::kPerplexity: return "ppl";
    case EvalTask::kRetrieval: return "niah";
    case EvalTask::kRecall: return "recall";
  }
  return "unknown";
}

EvalTask parse_eval_task(std::string_view name, const std::string& source) {
  for (const EvalTask task : {EvalTask::kPerplexity, EvalTask::kRetrieval, EvalTask::kRecall}) {
    if (eval_task_name(task) == name) return task;
  }
  throw std::runtime_error(
      fmt::format("{}: task: expected ppl, niah or recall, got {}", source, quote(name)));
}

std::string EvalSample::to_json() const {
  nlohmann::ordered_json line;
  line["task"] = eval_task_name(task);
  line["policy"] = policy;
  line["gates"] = gates;
  line["context"] = context;
  line["sample"] = sample;
  if (nll) line["nll"] = *nll;
  if (retrieved) line["retrieved"] = *retrieved;
  if (answer_tokens) line["answer_tokens"] = *answer_tokens;
  line["density"] = density;
  if (recall) line["recall"] = *recall;
  line["seconds"] = seconds;
  line["selection_seconds"] = selection_seconds;
  line["attention_seconds"] = attention_seconds;
  line["prefill_tokens_per_second"] = tokens_per_second();
  line["layer_density"] = layer_density;
  if (recall) line["layer_recall"] = layer_recall;
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
  sample.task = parse_eval_task(fields.text("task"), source);
  sample.policy = fields.text("policy");
  sample.gates = fields.text("gates");
  sample.context = fields.count("context");
  sample.sample = fields.count("sample");
  sample.nll = fields.optional_number("nll");
  sample.retrieved = fields.optional_flag("retrieved");
  sample.answer_tokens = fields.optional_number("answer_tokens");
  sample.density = fields.number("density");
  sample.recall = fields.optional_number("recall");
  sample.seconds = fields.number("seconds");
  sample.selection_seconds = fields.number("selection_seconds");
  sample.attention_seconds = fields.number("attention_seconds");
  sample.layer_density = fields.numbers("layer_density");
  if (sample.recall) sample.layer_recall = fields.numbers("layer_recall");
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
