#include "ops/pool_blocks.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include "ops/element.h"
#include "seer/ops.h"

namespace seer {

TORCH_LIBRARY_FRAGMENT(seer, m) {
  m.def("pool_blocks(Tensor x, int block_size, str kinds) -> Tensor");
}

at::Tensor pool_blocks(const at::Tensor& x, std::int64_t block_size, std::string_view kinds) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("seer::pool_blocks", "")
          .typed<at::Tensor(const at::Tensor&, std::int64_t, std::string_view)>();
  return op.call(x, block_size, kinds);
}

namespace {

struct Kinds {
  bool max = false;
  bool min = false;
  bool avg = false;
  std::int64_t count() const { return max + min + avg; }
};

// Names of three letters, each at most once, with or without one comma in between.
Kinds parse_kinds(std::string_view text) {
  Kinds kinds;
  std::string_view rest = text;
  bool valid = !text.empty();
  while (valid && !rest.empty()) {
    const std::string_view name = rest.substr(0, 3);
    bool* kind = name == "max"   ? &kinds.max
                 : name == "min" ? &kinds.min
                 : name == "avg" ? &kinds.avg
                                 : nullptr;
    valid = kind != nullptr && !*kind;
    if (!valid) break;
    *kind = true;
    rest.remove_prefix(3);
    if (rest.starts_with(',')) {
      rest.remove_prefix(1);
      valid = !rest.empty();
    }
  }
  TORCH_CHECK(valid, "pool_blocks: kinds='", text,
              "': expected one or more of max, min, avg, each once, written together or with "
              "commas");
  return kinds;
}

Kinds check_arguments(const at::Tensor& x, std::int64_t block_size, std::string_view kinds) {
  TORCH_CHECK(x.dim() == 4,
              "pool_blocks: x: expected 4 dimensions [batch, heads, length, "
              "head_dim], got ",
              x.dim());
  TORCH_CHECK(block_size >= 1 && block_size <= 128 && (block_size & (block_size - 1)) == 0,
              "pool_blocks: block_size=", block_size, ": expected a power of two from 1 to 128");
  const Kinds parsed = parse_kinds(kinds);
  TORCH_CHECK(x.sym_size(3) <= 1 || x.sym_stride(3) == 1,
              "pool_blocks: x: expected a contiguous "
              "last dimension, got strides ",
              x.sym_strides());
  return parsed;
}

at::Tensor pool_blocks_meta(const at::Tensor& x, std::int64_t block_size, std::string_view kinds) {
  const Kinds parsed = check_arguments(x, block_size, kinds);
  return at::empty_symint(
      {x.sym_size(0), x.sym_size(1), (x.sym_size(2) + (block_size - 1)) / block_size,
       x.sym_size(3) * parsed.count()},
      x.options());
}

}  // namespace

PreparedPoolBlocks prepare_pool_blocks(const at::Tensor& x, std::int64_t block_size,
                                       std::string_view kinds) {
  const Kinds parsed = check_arguments(x, block_size, kinds);
  PreparedPoolBlocks prepared;
  PoolBlocksParams& params = prepared.params;
  params.element = element_of(x, "pool_blocks: x");
  params.batch = x.size(0);
  params.heads = x.size(1);
  params.length = x.size(2);
  params.head_dim = x.size(3);
  params.block_size = block_size;
  params.x_strides = {x.stride(0), x.stride(1), x.stride(2)};
  params.max = parsed.max;
  params.min = parsed.min;
  params.avg = parsed.avg;
  prepared.out =
      at::empty({params.batch, params.heads, (params.length + block_size - 1) / block_size,
                 params.head_dim * parsed.count()},
                x.options());
  params.x = x.const_data_ptr();
  params.out = prepared.out.mutable_data_ptr();
  return prepared;
}

TORCH_LIBRARY_IMPL(seer, Meta, m) {
  m.impl("pool_blocks", &pool_blocks_meta);
}

// The gates train on pooled activations that are detached; a backward through the pooling says that
// there is none.
TORCH_LIBRARY_IMPL(seer, Autograd, m) {
  m.impl("pool_blocks", torch::autograd::autogradNotImplementedFallback());
}

}  // namespace seer
