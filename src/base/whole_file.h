#pragma once

#include <string>
#include <string_view>

namespace seer {

// Throws std::runtime_error that names the path when no file can be written there.
void check_writable(const std::string& path);

// Writes the file whole or leaves what was there: writes beside it, syncs, renames. Throws
// std::runtime_error that names the path.
void write_whole_file(const std::string& path, std::string_view text);

}  // namespace seer
