// Memory for the large outputs of CPU operators.
#pragma once

#include <c10/core/Allocator.h>

#include <cstddef>

namespace seer {

// The largest total of freed outputs that is kept for reuse: SEER_OUTPUT_CACHE_MB megabytes, 256 when unset or no
// number; 0 keeps none.
std::size_t output_cache_bytes();

// Allocates like LibTorch's CPU allocator below 4 MB. Larger blocks, which the C library would map afresh and return
// to the system each time, are backed by huge pages where the system offers them on request and are kept for the next
// output when they are freed, up to output_cache_bytes() in all. Without this the page faults of a fresh output take up
// to a tenth of block-sparse attention's time at a density of 0.1; every layer of a model asks for the same size again.
// Thread-safe; never destroyed.
c10::Allocator* output_allocator();

// Bytes kept for reuse at the moment.
std::size_t idle_output_bytes();

}  // namespace seer
