// The producer of the kernel for the gradients of keys and values: one warp a group.
#pragma once

#include "kernels/block_sparse_attention_backward/sm90/shared_storage.cuh"
#include "kernels/hopper/bulk_copy.cuh"
#include "kernels/hopper/dependent_launch.cuh"
#include "kernels/hopper/tma.cuh"

namespace seer::sm90 {

// Takes the next item while the one at hand is still being loaded: each step asks for what the step before has received.
struct NextItem {
  int position = 0;  // lane 0's
  ColumnItem item = {};
  int steps = 0;
  static constexpr int kSteps = 2;

  __device__ __forceinline__ void step(const BackwardArguments& a, int num_long, int lane) {
    if (steps == 0) {
      if (lane == 0) position = atomicAdd(&a.counters->next_item, 1);
    } else if (steps == 1) {
      position = __shfl_sync(~0u, position, 0);
      if (is_item(a, num_long)) {
        item = position < num_long ? a.items[position] : a.column_items[position - num_long];
      }
    }
    ++steps;
  }
  __device__ __forceinline__ void finish(const BackwardArguments& a, int num_long, int lane) {
    while (steps < kSteps) step(a, num_long, lane);
  }
  __device__ __forceinline__ bool is_item(const BackwardArguments& a, int num_long) const {
    return position < num_long + a.num_columns;
  }
};

template <int kBlock, int kHeadDim>
struct KeyValueProducer {
  using P = BackwardPlan<kBlock, kHeadDim>;
  using Shared = KeyValueStorage<kBlock, kHeadDim>;

  const BackwardArguments& arguments;
  Shared& shared;
  const int group;
  const int lane;
  int num_long = 0;
  hopper::RingPosition<P::kKeyValueSlots> ring = {};
  std::uint32_t work_parity = 0;
  NextItem next = {};

  __device__ __forceinline__ void run() {
    hopper::wait_for_predecessor();  // which makes the items
    hopper::let_dependents_start();
    num_long = arguments.counters->num_long;
    for (;;) {
      next.finish(arguments, num_long, lane);
      if (!next.is_item(arguments, num_long)) break;
      const ColumnItem item = next.item;
      next = {};
      if (item.column < 0) continue;
      const Column column = column_of(arguments.forward, item.column);
      if (lane == 0) send(column, item);
      if (arguments.kept_queries == nullptr) {
        dense_item(column, item);
      } else {
        sparse_item(column, item);
      }
      __syncwarp();
    }
    if (lane == 0) finish();
  }

 private:
  __device__ __forceinline__ auto& storage() { return shared.group[group]; }

  // Tells the group what comes, and starts the copies of keys and values.
  __device__ __forceinline__ void send(const Column& column, const ColumnItem& item) {
    auto& s = storage();
    s.work_empty.wait(work_parity ^ 1);
    work_parity ^= 1;
    s.message = {column.batch, column.kv_head, column.key_block,
                 item.count * P::kWarpgroupsInGroup, item.partial};
    if (item.count == 0) {
      s.work_full.arrive();
      return;
    }
    s.work_full.arrive_and_expect(P::kHeldTiles * P::kTileBytes);
    const Arguments& a = arguments.forward;
#pragma unroll
    for (int i = 0; i < P::kWarpgroupsInGroup; ++i) {
      const int row = column.key_block * kBlock + i * kTileRows;
      hopper::load_rows(&shared.held[group][2 * i], a.k, s.work_full, row, column.kv_head,
                        column.batch);
      hopper::load_rows(&shared.held[group][2 * i + 1], a.v, s.work_full, row, column.kv_head,
                        column.batch);
    }
  }
  __device__ __forceinline__ void finish() {
    auto& s = storage();
    s.work_empty.wait(work_parity ^ 1);
    s.message.num_steps = -1;
    s.work_full.arrive();
  }

  __device__ __forceinline__ void load(const CUtensorMap& map, const float* stats, int row,
                                       int head, int batch) {
    auto& s = storage();
    const int slot = ring.slot;
    s.empty[slot].wait(ring.parity ^ 1);
    s.first_row[slot] = row;
    s.full[slot].arrive_and_expect(P::kTileBytes + P::kStatBytes);
    hopper::load_rows(&shared.slot[group][slot], map, s.full[slot], row, head, batch);
    const std::int64_t at = (static_cast<std::int64_t>(batch) * arguments.forward.num_q_heads +
                             head) * arguments.padded_q_len + row;
    hopper::load_bytes(shared.stats[group][slot], stats + at, P::kStatBytes, s.full[slot]);
    ring.advance();
  }
  __device__ __forceinline__ void load_block(int q_block, int head, int batch) {
    if (lane == 0) {
#pragma unroll 1
      for (int i = 0; i < P::kWarpgroupsInGroup; ++i) {
        const int row = q_block * kBlock + i * kTileRows;
        load(arguments.forward.q, arguments.minus_lse, row, head, batch);
        load(arguments.grad_out, arguments.delta, row, head, batch);
      }
    }
    if (next.steps < NextItem::kSteps) next.step(arguments, num_long, lane);
  }

  __device__ __forceinline__ void dense_item(const Column& column, const ColumnItem& item) {
    const Arguments& a = arguments.forward;
    const int first = first_query_block<kBlock>(a, column.key_block);
    const int of_head = a.num_q_blocks - first;
    int head = column.kv_head * a.heads_per_kv_head;
    int from = item.first;
    for (; of_head > 0 && from >= of_head; from -= of_head) ++head;
    for (int i = 0; i < item.count; ++i) {
      load_block(first + from, head, column.batch);
      if (++from == of_head) {
        from = 0;
        ++head;
      }
    }
  }

  // The words of all heads of the key/value head in a row, 32 at a time, one a lane; their set bits are walked together, the
  // first `item.first` of them passed over.
  __device__ __forceinline__ void sparse_item(const Column& column, const ColumnItem& item) {
    const Arguments& a = arguments.forward;
    const int words = a.heads_per_kv_head * arguments.query_words;
    const int first_head = column.kv_head * a.heads_per_kv_head;
    const int mask_batch = a.mask_has_batch ? column.batch : 0;
    int to_skip = item.first;
    int left = item.count;
    for (int first = 0; left > 0 && first < words; first += 32) {
      std::uint32_t own = 0;
      if (first + lane < words) {
        const int head = first_head + (first + lane) / arguments.query_words;
        const std::int64_t row =
            static_cast<std::int64_t>(mask_batch * a.mask_heads + head / a.mask_heads_per_group) *
                a.num_kv_blocks +
            column.key_block;
        own = arguments.kept_queries[row * arguments.query_words +
                                     (first + lane) % arguments.query_words];
      }
      for (unsigned nonzero = __ballot_sync(~0u, own != 0); nonzero != 0 && left > 0;
           nonzero &= nonzero - 1) {
        const int from = __ffs(static_cast<int>(nonzero)) - 1;
        std::uint32_t bits = __shfl_sync(~0u, own, from);
        if (to_skip >= __popc(bits)) {
          to_skip -= __popc(bits);
          continue;
        }
        for (; to_skip > 0; --to_skip) bits &= bits - 1;
        const int head = first_head + (first + from) / arguments.query_words;
        const int q_block = (first + from) % arguments.query_words * 32;
        for (; bits != 0 && left > 0; bits &= bits - 1, --left) {
          load_block(q_block + __ffs(static_cast<int>(bits)) - 1, head, column.batch);
        }
      }
    }
  }
};

}  // namespace seer::sm90
