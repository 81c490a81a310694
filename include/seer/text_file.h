// Text from files and streams.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

namespace seer {

// The text of a file; throws std::runtime_error that names it and says why it cannot be read.
std::string read_text_file(const std::string& file);
// The rest of a stream; `name` stands in the message of the std::runtime_error where it cannot be read.
std::string read_text_stream(std::istream& stream, const std::string& name);

// Writes the file whole or leaves what was there. Throws std::runtime_error that names it.
void write_text_file(const std::string& file, std::string_view text);

}  // namespace seer
