#include "kernels/select_blocks/rows.cuh"

namespace seer::selection {

template void select_rows<__nv_bfloat16>(const SelectBlocksParams&, CUstream_st*);

}  // namespace seer::selection
