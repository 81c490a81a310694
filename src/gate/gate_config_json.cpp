#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "base/config_fields.h"
#include "base/json.h"
#include "base/quote.h"
#include "seer/gate_config.h"

namespace seer {
namespace {

constexpr const char* kFileName = "gate_config.json";
constexpr std::int64_t kFormatVersion = 1;
constexpr std::size_t kMaxRows = 10'000;
constexpr std::size_t kMaxThresholds = 10'000'000;
using OrderedJson = nlohmann::ordered_json;

std::string required_text(const ConfigFields& fields, const char* field) {
  auto text = fields.text(field);
  if (!text) fields.fail(field, "expected a string");
  return std::move(*text);
}

bool required_boolean(const ConfigFields& fields, const char* field) {
  const auto value = fields.boolean(field);
  if (!value) fields.fail(field, "expected true or false");
  return *value;
}

GateKind read_kind(const ConfigFields& fields) {
  const std::string kind = required_text(fields, "kind");
  if (kind == "prefill") return GateKind::kPrefill;
  if (kind == "decode") return GateKind::kDecode;
  fields.fail("kind", "expected prefill or decode");
}

KeyHeads read_key_heads(const ConfigFields& fields) {
  const std::string heads = required_text(fields, "key_heads");
  if (heads == "query") return KeyHeads::kQuery;
  if (heads == "kv") return KeyHeads::kKv;
  fields.fail("key_heads", "expected query or kv");
}

std::string object_text(const ConfigFields& fields, const char* field) {
  const auto object = fields.object(field);
  return object ? object->json().dump() : "";
}

std::map<std::string, GateOption> read_options(const ConfigFields& fields) {
  std::map<std::string, GateOption> options;
  const auto object = fields.object("options");
  if (!object) return options;
  for (const auto& [name, value] : object->json().items()) {
    if (value.is_boolean()) {
      options[name] = value.get<bool>();
    } else if (value.is_number() && std::isfinite(value.get<double>())) {
      options[name] = value.get<double>();
    } else if (value.is_string()) {
      options[name] = value.get<std::string>();
    } else {
      object->fail(name, "expected a number, a string, true or false");
    }
  }
  return options;
}

// A number, [layers] or [layers][heads]. The first row says which.
class ThresholdReader {
 public:
  explicit ThresholdReader(CalibrationTable& table) : table_(table) {}

  void read(const ConfigFields& row, std::vector<double>& out) {
    const Json* value = row.find("threshold");
    if (value == nullptr) row.fail("threshold", "expected a number or an array");
    const std::size_t layers = value->is_array() ? value->size() : 0;
    const std::size_t heads = layers > 0 && value->front().is_array() ? value->front().size() : 0;
    if (layers * std::max<std::size_t>(heads, 1) > kMaxThresholds)
      row.fail("threshold", "too many");
    if (std::exchange(first_, false)) {
      table_.layers = static_cast<std::int64_t>(layers);
      table_.heads = static_cast<std::int64_t>(heads);
    }
    if (layers != static_cast<std::size_t>(table_.layers)) bad_shape(row);
    if (!value->is_array()) return add(row, *value, out);
    for (const Json& layer : *value) {
      if (table_.heads == 0) {
        add(row, layer, out);
        continue;
      }
      if (!layer.is_array() || layer.size() != static_cast<std::size_t>(table_.heads))
        bad_shape(row);
      for (const Json& head : layer) add(row, head, out);
    }
  }

 private:
  [[noreturn]] void bad_shape(const ConfigFields& row) const {
    row.fail("threshold",
             "expected in all rows the same of a number, [layers] or [layers][heads]; the first "
             "row has " +
                 std::to_string(table_.layers) + " layers and " + std::to_string(table_.heads) +
                 " heads");
  }

  static void add(const ConfigFields& row, const Json& value, std::vector<double>& out) {
    if (!value.is_number()) row.fail("threshold", "expected numbers");
    out.push_back(value.get<double>());
  }

  CalibrationTable& table_;
  bool first_ = true;
};

CalibrationTable read_calibration(const ConfigFields& fields) {
  CalibrationTable table;
  const auto object = fields.object("calibration");
  if (!object) return table;
  const Json* rows = object->find("rows");
  if (rows == nullptr || !rows->is_array()) object->fail("rows", "expected an array");
  if (rows->size() > kMaxRows) object->fail("rows", "expected at most " + std::to_string(kMaxRows));
  ThresholdReader thresholds(table);
  for (std::size_t i = 0; i < rows->size(); ++i) {
    const ConfigFields row((*rows)[i], fields.source(),
                           "calibration.rows[" + std::to_string(i) + "].");
    CalibrationRow& read = table.rows.emplace_back();
    read.length = row.required_size("length");
    const auto density = row.number("density");
    if (!density) row.fail("density", "expected a number");
    read.density = *density;
    thresholds.read(row, read.thresholds);
  }
  try {
    table.check();
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error(fields.source() + ": " + error.what());
  }
  return table;
}

OrderedJson threshold_json(const CalibrationTable& table, const CalibrationRow& row) {
  if (table.layers == 0) return row.thresholds.front();
  if (table.heads == 0) return row.thresholds;
  OrderedJson layers = OrderedJson::array();
  for (std::int64_t layer = 0; layer < table.layers; ++layer) {
    const auto first = row.thresholds.begin() + layer * table.heads;
    layers.push_back(std::vector<double>(first, first + table.heads));
  }
  return layers;
}

OrderedJson calibration_json(const CalibrationTable& table) {
  OrderedJson rows = OrderedJson::array();
  for (const CalibrationRow& row : table.rows) {
    rows.push_back({{"length", row.length},
                    {"density", row.density},
                    {"threshold", threshold_json(table, row)}});
  }
  return {{"rows", rows}};
}

// Text that is kept in a field as the object that it holds.
OrderedJson object_of(const std::string& text, const char* field) {
  const Json object = parse_json(text, field);
  if (!object.is_object())
    throw std::invalid_argument(std::string(field) + ": expected the JSON text of an object");
  return OrderedJson(object);
}

GateConfig config_of(const Json& object, const std::string& source) {
  const ConfigFields fields(object, source);
  const auto version = fields.integer("format_version");
  if (version != kFormatVersion) {
    fields.fail("format_version", "expected " + std::to_string(kFormatVersion) +
                                      " (an adapter of another version of Seer?)");
  }
  GateConfig config;
  config.kind = read_kind(fields);
  config.design = required_text(fields, "design");
  config.block_size = fields.required_size("block_size");
  config.width = fields.required_size("gate_hidden_size");
  config.project_queries = required_boolean(fields, "project_queries");
  config.project_keys = required_boolean(fields, "project_keys");
  config.key_heads = read_key_heads(fields);
  config.use_rope = required_boolean(fields, "use_rope");
  config.qk_norm = required_boolean(fields, "qk_norm");
  config.options = read_options(fields);
  const auto base = fields.object("base_model");
  if (!base) fields.fail("base_model", "expected an object");
  config.base_model = required_text(*base, "name");
  config.fingerprint = required_text(*base, "fingerprint");
  config.base_config = object_text(*base, "config");
  if (config.base_config.empty()) base->fail("config", "expected an object");
  config.training = object_text(fields, "training");
  config.published = object_text(fields, "published");
  config.calibration = read_calibration(fields);
  return config;
}

}  // namespace

GateConfig parse_gate_config(std::string_view json, const std::string& source) {
  return config_of(parse_json(json, source), source);
}

GateConfig read_gate_config(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kFileName;
  return config_of(read_json_file(file), file.string());
}

std::string gate_config_json(const GateConfig& config) {
  OrderedJson json = {{"format_version", kFormatVersion},
                      {"kind", config.kind == GateKind::kDecode ? "decode" : "prefill"},
                      {"design", config.design},
                      {"block_size", config.block_size},
                      {"gate_hidden_size", config.width},
                      {"project_queries", config.project_queries},
                      {"project_keys", config.project_keys},
                      {"key_heads", config.key_heads == KeyHeads::kKv ? "kv" : "query"},
                      {"use_rope", config.use_rope},
                      {"qk_norm", config.qk_norm}};
  if (!config.options.empty()) {
    OrderedJson options = OrderedJson::object();
    for (const auto& [name, option] : config.options)
      std::visit([&, &key = name](const auto& value) { options[key] = value; }, option);
    json["options"] = options;
  }
  json["base_model"] = {{"name", config.base_model},
                        {"fingerprint", config.fingerprint},
                        {"config", object_of(config.base_config, "base_model.config")}};
  if (!config.training.empty()) json["training"] = object_of(config.training, "training");
  if (!config.calibration.empty()) json["calibration"] = calibration_json(config.calibration);
  if (!config.published.empty()) json["published"] = object_of(config.published, "published");
  // Names of folders need not be UTF-8.
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace seer
