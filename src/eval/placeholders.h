// Templates of prompts.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace seer {

// The text with each "{name}" of `values` replaced, once: what is put in is not looked at again. Other braces stay.
std::string replace_placeholders(std::string_view text,
                                 const std::map<std::string, std::string, std::less<>>& values);

}  // namespace seer
