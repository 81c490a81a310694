// Every JSON file of a model folder goes through this.
#include "base/json.h"
#include "fuzz/fuzz_target.h"

void seer::fuzz::parse_input(std::string_view input) {
  JsonLimits limits;
  limits.max_bytes = 1 << 20;
  parse_json(input, "input.json", limits);
}
