// Models of a Hugging Face hub: its local cache, in the layout of huggingface_hub, and downloads into it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace seer {

struct HubSettings {
  std::string endpoint;         // "https://huggingface.co"
  std::filesystem::path cache;  // the folder of models--org--name
  std::string token;            // empty: none
  std::filesystem::path token_file;
  bool offline = false;
};

// From HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_TOKEN, HF_TOKEN_PATH and HF_HUB_OFFLINE, with the
// defaults of huggingface_hub; the token from HF_TOKEN or the file HF_HOME/token.
HubSettings hub_settings();

// Whether this may name a model on a hub: "org/name".
bool is_model_id(std::string_view text);

// The folder that a --model argument means: an existing folder itself, or the snapshot of org/name in the cache.
// Throws std::runtime_error that says what to do where there is none.
std::filesystem::path resolve_model(const std::string& model, const std::string& revision,
                                    const HubSettings& settings);
std::filesystem::path resolve_model(
    const std::string& model);  // revision main, settings of the environment

struct PullProgress {
  std::string file;
  std::size_t file_number = 0;  // from 1
  std::size_t files = 0;
  std::uint64_t file_bytes = 0;  // present, and of how many
  std::uint64_t file_size = 0;
  std::uint64_t bytes = 0;  // of all files
  std::uint64_t size = 0;
};

struct PullOptions {
  std::string revision = "main";  // a branch, a tag or a commit
  HubSettings settings;
  std::function<void(const PullProgress&)> on_progress;  // several times a second
  std::function<void(const std::string&)> on_message;  // retries, waiting for another download, ...
  std::function<void()> check;  // called often; may throw, which keeps what has arrived
};

struct PulledModel {
  std::filesystem::path folder;
  std::string commit;
  std::size_t files = 0;
  std::uint64_t bytes = 0;       // of all files
  std::uint64_t downloaded = 0;  // of them by this call
};

// Downloads what Seer reads of a model: weights (*.safetensors), configuration, tokenizer and chat template. What is
// there already is not downloaded again, and an interrupted file goes on where it ended. Each file is checked against
// its size and digest before it gets its name. Throws std::runtime_error that says what to do.
PulledModel pull_model(const std::string& id, const PullOptions& options);

}  // namespace seer
