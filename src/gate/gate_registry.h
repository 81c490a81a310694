#pragma once

#include <string_view>

#include "seer/gate.h"

namespace seer {

// Null where no design of this name is registered.
GateFactory find_gate_factory(std::string_view name);

}  // namespace seer
