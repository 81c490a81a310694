// Token sequences to train on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "seer/tokenizer.h"

namespace seer {

// A source of sequences by number. Implementations are deterministic: number i is the same sequence at every call, so
// that training can go on where it stopped.
class TrainingData {
 public:
  TrainingData() = default;
  TrainingData(const TrainingData&) = delete;
  TrainingData& operator=(const TrainingData&) = delete;
  virtual ~TrainingData();

  // Number `index` from 0 on; `length` tokens.
  virtual std::vector<TokenId> sequence(std::int64_t index, std::int64_t length) const = 0;
  // Changes when the sequences do: what a checkpoint remembers of its data.
  virtual std::string fingerprint() const = 0;
};

// Documents behind each other, each with the begin-of-text token in front.
struct TokenStream {
  std::vector<std::int32_t> tokens;
  std::int64_t documents = 0;
};

struct TextSource {
  std::vector<std::string> paths;   // files, or folders whose files are taken in name order
  std::string json_field = "text";  // of each line of a .jsonl file
};

// Reads documents: .txt and other files are one document each, .jsonl one a line, .json lists of token ids. Throws
// std::runtime_error naming the file and what is wrong: missing, empty, no UTF-8, binary, a line without the field.
TokenStream read_token_stream(const TextSource& source, const Tokenizer& tokenizer);

// Windows of the stream in an order drawn from the seed, each with the begin-of-text token in front; a share of the
// sequences are retrieval documents (seer/retrieval_documents.h) over text of the stream.
struct PackedDataOptions {
  double retrieval_share = 0.5;
  std::uint64_t seed = 0;
};
std::unique_ptr<TrainingData> make_packed_data(TokenStream stream, const Tokenizer& tokenizer,
                                               TokenId bos, const PackedDataOptions& options);

}  // namespace seer
