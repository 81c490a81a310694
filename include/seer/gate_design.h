// What a gate pools: the published names, and representatives finer than a block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

// How the tokens of one side become representatives.
struct GatePooling {
  bool max = false;
  bool min = false;
  bool avg = false;
  std::int64_t tokens = 0;  // a representative stands for so many tokens; 0: for a block

  std::int64_t num_kinds() const { return max + min + avg; }
  // As seer::pool_blocks takes them: "maxminavg".
  std::string kinds() const;
  std::int64_t tokens_of(std::int64_t block_size) const {
    return tokens == 0 ? block_size : tokens;
  }
  bool operator==(const GatePooling&) const = default;
};

// Text form "Q<kinds>[tokens]_K<kinds>[tokens]": one or more of max, min, avg on each side, in this order. Without a
// number a representative stands for a block, which gives the 49 names of the published system
// (`Qavg_Kmaxminavg`); with one, for so many tokens: `Qavg16_Kmaxminavg` pools queries over 16 tokens and keys over the
// block. With 1 token there is nothing to pool, and one kind is enough.
struct GateDesign {
  GatePooling q, k;

  // Throws std::invalid_argument that names the design and what is accepted.
  static GateDesign parse(std::string_view text);
  // Parsed text is printed back the same, but for numbers that stand for the block size.
  std::string to_string() const;
  bool is_published() const { return q.tokens == 0 && k.tokens == 0; }
  // Throws std::invalid_argument unless the tokens of a representative divide `block_size` (16, 32, 64 or 128).
  void check_block_size(std::int64_t block_size) const;
  bool operator==(const GateDesign&) const = default;
};

// The 49 names.
std::vector<std::string> published_gate_designs();

}  // namespace seer
