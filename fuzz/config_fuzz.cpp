// config.json, and generation_config.json as the field "generation_config" of the input.
#include "fuzz/fuzz_target.h"
#include "model/config_reader.h"

void seer::fuzz::parse_input(std::string_view input) {
  JsonLimits limits;
  limits.max_bytes = 1 << 20;
  const Json json = parse_json(input, "config.json", limits);
  ModelConfig config = parse_model_config(json, "config.json");
  if (const auto generation = json.find("generation_config"); generation != json.end()) {
    apply_generation_config(*generation, "generation_config.json", config);
  }
}
