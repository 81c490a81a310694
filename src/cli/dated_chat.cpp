#include "cli/dated_chat.h"

#include <ctime>

namespace seer::cli {

std::shared_ptr<const ChatTemplate> load_dated_chat(const std::filesystem::path& folder) {
  auto chat = std::make_shared<ChatTemplate>(ChatTemplate::load(folder));
  // The day that Llama 3.1's template takes where it is told none.
  chat->set_clock([] {
    std::tm day{};
    day.tm_year = 2024 - 1900;
    day.tm_mon = 6;
    day.tm_mday = 26;
    day.tm_wday = 5;
    day.tm_yday = 207;
    return day;
  });
  return chat;
}

}  // namespace seer::cli
