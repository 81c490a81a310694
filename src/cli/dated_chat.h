#pragma once

#include <filesystem>
#include <memory>

#include "seer/chat_template.h"

namespace seer::cli {

// The chat template of a model folder, with 26 July 2024 for today: templates that print the date would make other samples
// every day. Throws as ChatTemplate::load() does.
std::shared_ptr<const ChatTemplate> load_dated_chat(const std::filesystem::path& folder);

}  // namespace seer::cli
