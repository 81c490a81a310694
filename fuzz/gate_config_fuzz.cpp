// gate_config.json: what is read is printed and read again.
#include <cstdlib>

#include "fuzz/fuzz_target.h"
#include "seer/gate_config.h"

void seer::fuzz::parse_input(std::string_view input) {
  const GateConfig config = parse_gate_config(input, "gate_config.json");
  const std::string text = gate_config_json(config);
  if (gate_config_json(parse_gate_config(text, "printed")) != text) std::abort();
}
