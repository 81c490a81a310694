#pragma once

#include <string_view>

namespace seer::fuzz {

// Each target defines this: it reads `input` as the program would read a file with these bytes. An input that is
// refused must end in std::runtime_error; any other exception, a crash, a hang or an allocation that has no relation to
// the input's size is a bug.
void parse_input(std::string_view input);

}  // namespace seer::fuzz
