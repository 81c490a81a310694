// The producer of the kernel for the gradients of keys and values: one warp a group.
#pragma once

#include "kernels/block_sparse_attention_backward/sm90/shared_storage.cuh"
#include "kernels/hopper/bulk_copy.cuh"
#include "kernels/hopper/dependent_launch.cuh"
#include "kernels/hopper/tma.cuh"

namespace seer::sm90 {

template <int kBlock, int kHeadDim>
struct KeyValueProducer {
  using P = BackwardPlan<kBlock, kHeadDim>;
  using Shared = KeyValueStorage<kBlock, kHeadDim>;

  const BackwardArguments& arguments;
  Shared& shared;
  const int group;
  const int lane;
  hopper::RingPosition<P::kKeyValueSlots> ring = {};

  // All lanes list an item's query blocks, then the first one loads them: so few values are live at a time that the registers
  // left to the producer suffice.
  __device__ __forceinline__ void run() {
    hopper::wait_for_predecessor();  // which makes the items
    hopper::let_dependents_start();
    if (lane == 0) storage().work_parity = 0;
    for (;;) {
      int position = 0;
      if (lane == 0) position = atomicAdd(&arguments.counters->next_item, 1);
      position = __shfl_sync(~0u, position, 0);
      const int num_long = arguments.counters->num_long;
      if (position >= num_long + arguments.num_columns) break;
      // Its fields are read where they are needed.
      const ColumnItem& item = position < num_long ? arguments.items[position]
                                                   : arguments.column_items[position - num_long];
      if (item.column.batch < 0) continue;
      if (arguments.kept_queries == nullptr) {
        list_all(item);
      } else {
        list_kept(item);
      }
      __syncwarp();
      if (lane == 0) load(item);
      __syncwarp();
    }
    if (lane == 0) finish();
  }

 private:
  __device__ __forceinline__ auto& storage() { return shared.group[group]; }

  // --- The list of an item ---------------------------------------------------------------------
  // Of this group, in memory: the query block, and the number of its head among those of the key/value head.
  static constexpr int kHeadShift = 20;
  __device__ __forceinline__ std::uint32_t* list() const {
    return arguments.lists +
           static_cast<std::int64_t>(blockIdx.x * P::kGroups + group) *
               (arguments.forward.heads_per_kv_head * arguments.forward.num_q_blocks);
  }

  __device__ __forceinline__ void list_all(const ColumnItem& item) {
    const Arguments& a = arguments.forward;
    const int first = first_query_block<kBlock>(a, item.column.key_block);
    const int of_head = a.num_q_blocks - first;
    int head = 0,
        at = item.first + lane;  // in the column's list: of which head, and where in its part
#pragma unroll 1
    for (int i = lane; i < item.count; i += 32, at += 32) {
      for (; at >= of_head; at -= of_head) ++head;
      list()[i] = static_cast<std::uint32_t>(head << kHeadShift | (first + at));
    }
  }

  // A lane lists the set bits of one word, of those of all heads in a row.
  __device__ __forceinline__ void list_kept(const ColumnItem& item) {
    const Arguments& a = arguments.forward;
    const Column& column = item.column;
    int at = -item.first;          // where the bits of the first lane's word go
    int head = 0, of_head = lane;  // the lane's word: of which head, and which of its words
    for (int word = 0; at < item.count && word < a.heads_per_kv_head * arguments.query_words;
         word += 32, of_head += 32) {
      for (; of_head >= arguments.query_words; of_head -= arguments.query_words) ++head;
      std::uint32_t bits = 0;
      if (head < a.heads_per_kv_head) {
        const int mask_head =
            (a.mask_has_batch ? column.batch * a.mask_heads : 0) +
            (column.kv_head * a.heads_per_kv_head + head) / a.mask_heads_per_group;
        bits = arguments.kept_queries[(static_cast<std::int64_t>(mask_head) * a.num_kv_blocks +
                                       column.key_block) *
                                          arguments.query_words +
                                      of_head];
      }
      int sum = __popc(bits);
      for (int step = 1; step < 32; step *= 2) {
        const int before = __shfl_up_sync(~0u, sum, step);
        if (lane >= step) sum += before;
      }
      int own = at + sum - __popc(bits);
      for (; bits != 0; bits &= bits - 1, ++own) {
        if (own < 0 || own >= item.count) continue;
        list()[own] = static_cast<std::uint32_t>(head << kHeadShift |
                                                 of_head * 32 + __ffs(static_cast<int>(bits)) - 1);
      }
      at += __shfl_sync(~0u, sum, 31);
    }
  }

  // --- Loading ---------------------------------------------------------------------------------
  // Tells the group what comes, and starts the copies: keys and values, then the listed queries.
  __device__ __forceinline__ void load(const ColumnItem& item) {
    send(item);
    // What does not change is read again for each block: registers are short, and this is the only thread that runs.
    const volatile WorkMessage& work = storage().message;
#pragma unroll 1
    for (int i = 0; i < work.num_steps; ++i) {
      const std::uint32_t entry = list()[i / P::kWarpgroupsInGroup];
      const int row = static_cast<int>(entry & ((1u << kHeadShift) - 1)) * kBlock +
                      i % P::kWarpgroupsInGroup * kTileRows;
      const int head =
          work.head * arguments.forward.heads_per_kv_head + static_cast<int>(entry >> kHeadShift);
      load_tile(arguments.forward.q, arguments.minus_lse, row, head, work.batch);
      load_tile(arguments.grad_out, arguments.delta, row, head, work.batch);
    }
  }
  __device__ __forceinline__ void send(const ColumnItem& item) {
    const Column& column = item.column;
    auto& s = storage();
    s.work_empty.wait(s.work_parity ^ 1);
    s.work_parity ^= 1;
    s.message = {column.batch, column.kv_head, column.key_block, item.count * P::kWarpgroupsInGroup,
                 item.partial};
    if (item.count == 0) {
      s.work_full.arrive();
      return;
    }
    s.work_full.arrive_and_expect(P::kHeldTiles * P::kTileBytes);
    const Arguments& a = arguments.forward;
#pragma unroll 1
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
    s.work_empty.wait(s.work_parity ^ 1);
    s.message.num_steps = -1;
    s.work_full.arrive();
  }
  __device__ __forceinline__ void load_tile(const CUtensorMap& map, const float* stats, int row,
                                            int head, int batch) {
    auto& s = storage();
    const int slot = ring.slot;
    s.empty[slot].wait(ring.parity ^ 1);
    s.first_row[slot] = row;
    s.full[slot].arrive_and_expect(P::kTileBytes + P::kStatBytes);
    hopper::load_rows(&shared.slot[group][slot], map, s.full[slot], row, head, batch);
    const std::int64_t at =
        static_cast<std::int64_t>(batch * arguments.forward.num_q_heads + head) *
            arguments.padded_q_len +
        row;
    hopper::load_bytes(shared.stats[group][slot], stats + at, P::kStatBytes, s.full[slot]);
    ring.advance();
  }
};

}  // namespace seer::sm90
