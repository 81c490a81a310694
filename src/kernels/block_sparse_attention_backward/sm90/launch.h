// The instances of the backward's Hopper kernels. One that is not listed in the build is an error of the linker.
#pragma once

#include "base/tensor_layout.h"

struct CUstream_st;

namespace seer::sm90 {

struct BackwardArguments;

// Thread blocks; at most one for each multiprocessor is of use.
struct BackwardGrids {
  int key_value_blocks, query_blocks;
  int split_columns;  // at most so many; 0: none
};

template <Element kElement, int kBlock, int kHeadDim>
void launch_attention_backward(const BackwardArguments& arguments, const BackwardGrids& grids,
                               CUstream_st* stream);

}  // namespace seer::sm90
