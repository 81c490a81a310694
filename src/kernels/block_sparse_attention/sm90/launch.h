// The instances of the Hopper kernel. One that is not listed in the build is an error of the linker.
#pragma once

#include "base/tensor_layout.h"

struct CUstream_st;

namespace seer::sm90 {

struct Arguments;

// `num_thread_blocks`: at most one for each multiprocessor is of use.
template <Element kElement, int kBlock, int kHeadDim, bool kWantsMap>
void launch_attention(const Arguments& arguments, int num_thread_blocks, CUstream_st* stream);

}  // namespace seer::sm90
