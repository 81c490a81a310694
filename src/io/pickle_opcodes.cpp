#include "io/pickle_opcodes.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

namespace seer {
namespace {

struct Name {
  std::uint8_t opcode;
  std::string_view name;
};

constexpr std::array kOtherOpcodes = {
    Name{'0', "POP"},
    Name{'1', "POP_MARK"},
    Name{'2', "DUP"},
    Name{'F', "FLOAT"},
    Name{'G', "BINFLOAT"},
    Name{'I', "INT"},
    Name{'L', "LONG"},
    Name{'P', "PERSID"},
    Name{'S', "STRING"},
    Name{'T', "BINSTRING"},
    Name{'U', "SHORT_BINSTRING"},
    Name{'V', "UNICODE"},
    Name{'B', "BINBYTES"},
    Name{'C', "SHORT_BINBYTES"},
    Name{']', "EMPTY_LIST"},
    Name{'a', "APPEND"},
    Name{'e', "APPENDS"},
    Name{'d', "DICT"},
    Name{'g', "GET"},
    Name{'i', "INST"},
    Name{'l', "LIST"},
    Name{'o', "OBJ"},
    Name{'p', "PUT"},
    Name{0x81, "NEWOBJ"},
    Name{0x82, "EXT1"},
    Name{0x83, "EXT2"},
    Name{0x84, "EXT4"},
    Name{0x8b, "LONG4"},
    Name{0x8c, "SHORT_BINUNICODE"},
    Name{0x8d, "BINUNICODE8"},
    Name{0x8e, "BINBYTES8"},
    Name{0x8f, "EMPTY_SET"},
    Name{0x90, "ADDITEMS"},
    Name{0x91, "FROZENSET"},
    Name{0x92, "NEWOBJ_EX"},
    Name{0x93, "STACK_GLOBAL"},
    Name{0x94, "MEMOIZE"},
    Name{0x95, "FRAME"},
    Name{0x96, "BYTEARRAY8"},
    Name{0x97, "NEXT_BUFFER"},
    Name{0x98, "READONLY_BUFFER"},
};

}  // namespace

std::string opcode_name(std::uint8_t opcode) {
  char code[8];
  std::snprintf(code, sizeof code, "0x%02x", opcode);
  const auto* found = std::find_if(kOtherOpcodes.begin(), kOtherOpcodes.end(),
                                   [&](const Name& known) { return known.opcode == opcode; });
  if (found == kOtherOpcodes.end()) return code;
  return std::string(found->name) + " (" + code + ")";
}

}  // namespace seer
