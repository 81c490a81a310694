#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string_view>

#include "base/json.h"
#include "base/quote.h"
#include "seer/text_file.h"
#include "seer/token_file.h"
#include "seer/training_data.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

// The files that a path stands for.
std::vector<fs::path> files_of(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) throw std::runtime_error(path + ": no such file or folder");
  if (!fs::is_directory(path, error)) return {path};
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with('.')) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) throw std::runtime_error(path + ": the folder holds no files; expected text");
  return files;
}

class StreamBuilder {
 public:
  StreamBuilder(const Tokenizer& tokenizer, TokenId bos) : tokenizer_(tokenizer), bos_(bos) {}

  void add_text(std::string_view text, const std::string& place) {
    if (text.find('\0') != std::string_view::npos) {
      throw std::runtime_error(place + ": holds a zero byte; expected text in UTF-8");
    }
    try {
      add_tokens(tokenizer_.encode(text, /*add_special_tokens=*/false));
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(place + ": " + error.what());
    }
  }

  // A begin-of-text token at the front is not doubled.
  void add_tokens(const std::vector<TokenId>& tokens) {
    if (tokens.empty() || tokens.front() != bos_)
      stream_.tokens.push_back(static_cast<std::int32_t>(bos_));
    stream_.tokens.insert(stream_.tokens.end(), tokens.begin(), tokens.end());
    ++stream_.documents;
  }

  TokenStream take() { return std::move(stream_); }

 private:
  const Tokenizer& tokenizer_;
  TokenId bos_;
  TokenStream stream_;
};

void add_json_lines(const fs::path& file, const std::string& text, const std::string& field,
                    StreamBuilder& builder) {
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", file.string(), line_number);
    const Json json = parse_json(line, place);
    const auto found = json.is_object() ? json.find(field) : json.end();
    if (found == json.end() || !found->is_string()) {
      throw std::runtime_error(
          fmt::format("{}: expected an object with a text in field {}; --field names another one",
                      place, quote(field)));
    }
    builder.add_text(found->get_ref<const std::string&>(), place);
  }
}

}  // namespace

TokenStream read_token_stream(const TextSource& source, const Tokenizer& tokenizer, TokenId bos,
                              std::int64_t vocab_size) {
  StreamBuilder builder(tokenizer, bos);
  for (const std::string& path : source.paths) {
    for (const fs::path& file : files_of(path)) {
      const std::string extension = file.extension().string();
      if (extension == ".json") {
        for (const std::vector<TokenId>& tokens : read_token_file(file.string())) {
          for (const TokenId token : tokens) {
            if (token >= 0 && token < vocab_size) continue;
            throw std::runtime_error(
                fmt::format("{}: token {}: expected 0 to {}, the model's vocabulary", file.string(),
                            token, vocab_size - 1));
          }
          builder.add_tokens(tokens);
        }
        continue;
      }
      const std::string text = read_text_file(file.string());
      if (text.empty())
        throw std::runtime_error(file.string() + ": the file is empty; expected text");
      if (extension == ".jsonl") {
        add_json_lines(file, text, source.json_field, builder);
      } else {
        builder.add_text(text, file.string());
      }
    }
  }
  return builder.take();
}

}  // namespace seer
