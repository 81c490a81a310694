// Unicode's canonical composition, as the `tokenizers` package does it.
#pragma once

#include <string>
#include <string_view>

namespace seer::tok {

// The NFC of valid UTF-8. Characters younger than the package's tables stay as they are and stop reordering and
// composition, as unassigned characters do.
std::string nfc(std::string_view text);

}  // namespace seer::tok
