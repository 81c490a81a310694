#pragma once

#include "base/whole_file.h"

namespace seer::bench {

using seer::check_writable;
using seer::write_whole_file;

}  // namespace seer::bench
