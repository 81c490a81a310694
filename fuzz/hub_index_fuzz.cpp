// What a hub says of a model, and which of its files are taken.
#include "fuzz/fuzz_target.h"
#include "io/hub_index.h"

void seer::fuzz::parse_input(std::string_view input) {
  for (const HubFile& file : wanted_files(parse_hub_index(input, "hub"))) {
    if (file.name.find('/') != std::string::npos || file.name.starts_with("..")) __builtin_trap();
  }
}
