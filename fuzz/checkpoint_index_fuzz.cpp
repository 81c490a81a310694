// model.safetensors.index.json.
#include "fuzz/fuzz_target.h"
#include "io/checkpoint_index.h"

void seer::fuzz::parse_input(std::string_view input) {
  JsonLimits limits;
  limits.max_bytes = 1 << 20;
  parse_checkpoint_index(parse_json(input, "index.json", limits), "index.json");
}
