#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace seer {

// Text from a file as it may stand in a message: control characters and bytes that are not UTF-8 as \xNN, and cut after
// some `max_bytes`.
std::string printable(std::string_view text, std::size_t max_bytes);

// The same in quotes, cut after 100 bytes.
std::string quote(std::string_view text);

}  // namespace seer
