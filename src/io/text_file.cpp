#include "seer/text_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <istream>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "base/whole_file.h"

namespace seer {

std::string read_text_file(const std::string& file) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(file, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    throw std::runtime_error(file + ": no such file");
  }
  if (std::filesystem::is_directory(status)) {
    throw std::runtime_error(file + ": is a folder, expected a text file");
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error(file + ": cannot be opened: " + std::strerror(errno));
  return read_text_stream(stream, file);
}

std::string read_text_stream(std::istream& stream, const std::string& name) {
  std::string text;
  std::vector<char> piece(1 << 16);
  // read() turns the stream buffer's exceptions into a bad stream.
  while (stream.read(piece.data(), static_cast<std::streamsize>(piece.size())),
         stream.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad()) throw std::runtime_error(name + ": cannot be read: " + std::strerror(errno));
  return text;
}

void write_text_file(const std::string& file, std::string_view text) {
  write_whole_file(file, text);
}

}  // namespace seer
