#include "kernels/select_blocks/rows.cuh"

namespace seer::selection {

template void select_rows<float>(const SelectBlocksParams&, CUstream_st*);

}  // namespace seer::selection
