// A whole safetensors file; what the header says is held against the bytes that are there.
#include <cstdlib>
#include <span>

#include "fuzz/fuzz_target.h"
#include "io/safetensors.h"

void seer::fuzz::parse_input(std::string_view input) {
  const SafetensorsHeader header =
      parse_safetensors_header(std::as_bytes(std::span(input)), "input.safetensors");
  for (const auto& [name, entry] : header.tensors) {
    if (entry.begin > entry.end || entry.end > input.size()) std::abort();
  }
}
