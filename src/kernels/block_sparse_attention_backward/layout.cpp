#include "kernels/block_sparse_attention_backward/layout.h"

#include "base/ceil_div.h"

namespace seer {

BackwardLayout backward_layout(const AttentionParams& params, std::int64_t panel_width) {
  constexpr std::int64_t kLineFloats = 16;
  BackwardLayout layout{};
  const std::int64_t block = params.block_size;
  layout.key_panels = ceil_div(block, panel_width);
  layout.dim_panels = ceil_div(params.head_dim, panel_width);
  layout.score_stride = layout.key_panels * panel_width;
  layout.row_stride =
      ceil_div(layout.dim_panels * panel_width, kLineFloats) * kLineFloats + kLineFloats;

  std::size_t end = 0;
  const auto place = [&end](std::int64_t floats) {
    const std::size_t begin = end;
    end += ceil_div<std::size_t>(static_cast<std::size_t>(floats) * 4, 64) * 64;
    return begin;
  };
  layout.keys = place(block * layout.row_stride);
  layout.key_columns = place(layout.key_panels * params.head_dim * panel_width);
  layout.value_columns = place(layout.key_panels * params.head_dim * panel_width);
  layout.queries = place(block * layout.row_stride);
  layout.grad_outs = place(block * layout.row_stride);
  layout.probs = place(block * layout.score_stride);
  layout.grad_scores = place(block * layout.score_stride);
  layout.grad_keys = place(block * layout.row_stride);
  layout.grad_values = place(block * layout.row_stride);
  layout.bytes = end;
  return layout;
}

}  // namespace seer
