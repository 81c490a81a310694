// Token sequences to train on.
#pragma once

#include <cstdint>
#include <memory>
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

  // Number `index` from 0 on; `length` tokens. Called from any thread, one call at a time.
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

// Reads documents: one a file, of .jsonl files one a line, of .json files lists of token ids. `bos` is put in front of
// each that does not begin with it. Throws std::runtime_error naming the file (and line) and what is wrong: missing,
// empty, no UTF-8, binary, a line without the field, an id outside the vocabulary.
TokenStream read_token_stream(const TextSource& source, const Tokenizer& tokenizer, TokenId bos,
                              std::int64_t vocab_size);

// The last part is held out, for measurements: a twentieth, or two sequences of `context` where a quarter allows it.
struct SplitStream {
  TokenStream train, held_out;
};
SplitStream split_stream(TokenStream stream, std::int64_t context);

struct PackedDataOptions {
  double retrieval_share = 0.5;  // of the sequences that are retrieval documents
  std::int64_t questions =
      24;  // of a retrieval document of 8,192 tokens; in proportion for other lengths
  std::uint64_t seed = 0;
};

// Windows of the stream, each with `bos` in front: every window once in an order drawn from the seed, then all again in
// another order. A retrieval document is such a window in which sentences state numbers of words, and questions with
// their answers ask for each of them, anywhere behind: many rows of the attention map must find a far block. Words are
// taken from the text. Throws std::invalid_argument for options out of range.
std::unique_ptr<TrainingData> make_packed_data(TokenStream stream, const Tokenizer& tokenizer,
                                               TokenId bos, const PackedDataOptions& options);

}  // namespace seer
