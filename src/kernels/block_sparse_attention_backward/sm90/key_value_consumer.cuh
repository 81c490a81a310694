// A consumer of the kernel for the gradients of keys and values: one warpgroup, 64 keys.
#pragma once

#include "kernels/block_sparse_attention_backward/sm90/consumer.cuh"

namespace seer::sm90 {

// Scores and probabilities are transposed here, [64 keys, 64 queries]: then they are the left operands, from registers, of the
// products that sum over queries.
template <hopper::TwoByteFloat T, int kBlock, int kHeadDim>
struct KeyValueConsumer : BackwardConsumer<T, kHeadDim, KeyValueStorage<kBlock, kHeadDim>,
                                           BackwardPlan<kBlock, kHeadDim>::kKeyValueSlots> {
  using P = BackwardPlan<kBlock, kHeadDim>;
  using Base = BackwardConsumer<T, kHeadDim, KeyValueStorage<kBlock, kHeadDim>, P::kKeyValueSlots>;
  using Base::arguments, Base::shared, Base::group, Base::number, Base::thread, Base::ring;
  using Base::kOutputs;
  using typename Base::Ring;

  __device__ __forceinline__ void run() {
    std::uint32_t parity = 0;
    for (;;) {
      shared.group[group].work_full.wait(parity);
      parity ^= 1;
      const WorkMessage work = this->message();
      if (work.num_steps < 0) break;
      float grad_k[kOutputs], grad_v[kOutputs];
#pragma unroll
      for (int i = 0; i < kOutputs; ++i) grad_k[i] = grad_v[i] = 0;
      if (work.num_steps == 0) {
        this->release_work();
      } else {
        accumulate(grad_k, grad_v, work);
      }
      if (work.partial < 0) {
        store(grad_k, arguments.grad_k, arguments.grad_k_strides, arguments.scale, work);
        store(grad_v, arguments.grad_v, arguments.grad_v_strides, 1, work);
      } else {
        store_partial(grad_k, 0, work);
        store_partial(grad_v, 1, work);
      }
    }
  }

 private:
  // to[64 keys, 64 queries] = held tile x (ring tile)^T
  __device__ __forceinline__ void start_scores(float (&to)[kScores], int held, const Ring& at) {
    const std::uint32_t a = hopper::shared_address(&shared.held[group][2 * number + held]);
    const std::uint32_t b = this->address_of(at);
    hopper::pin(to);
    hopper::wgmma_fence();
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
      const std::uint32_t offset = step / 4 * kColumnGroupBytes + step % 4 * 32;
      hopper::Product<T, 64>::ss(to, hopper::matrix_descriptor(a + offset, 0),
                                 hopper::matrix_descriptor(b + offset, 0), step > 0);
    }
    hopper::wgmma_commit();
  }

  // The thread's columns of query statistics: element 4 j holds those of columns 8 j + 2 (lane % 4) and the next.
  __device__ __forceinline__ const float2* stats_of(const Ring& at) const {
    return reinterpret_cast<const float2*>(shared.stats[group][at.slot]) + this->lane() % 4;
  }

  __device__ __forceinline__ void exponentiate(float (&scores)[kScores], const Ring& queries,
                                               int first_key) {
    const float2* const minus_lse = stats_of(queries);
    const float scale = arguments.forward.scale_log2;
    const int first_query = this->row_of(queries);
#pragma unroll
    for (int j = 0; j < kScores / 4; ++j) {
      const float2 m = minus_lse[4 * j];
      scores[4 * j] = exp2_approx(fmaf(scores[4 * j], scale, m.x));
      scores[4 * j + 1] = exp2_approx(fmaf(scores[4 * j + 1], scale, m.y));
      scores[4 * j + 2] = exp2_approx(fmaf(scores[4 * j + 2], scale, m.x));
      scores[4 * j + 3] = exp2_approx(fmaf(scores[4 * j + 3], scale, m.y));
    }
    // Rows past the last key need no care: they are not stored. Queries past the end have probability 0.
    if (first_key + kTileRows - 1 <= first_query + arguments.forward.causal_shift) return;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int key = first_key + this->first_row() + 8 * i;
      const int from =
          key - arguments.forward.causal_shift - first_query;  // the first that sees it
#pragma unroll
      for (int j = 0; j < kScores / 4; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          if (8 * j + this->lane() % 4 * 2 + c < from) scores[4 * j + 2 * i + c] = 0;
        }
      }
    }
  }

  // dp becomes p (dp - delta).
  __device__ __forceinline__ void differentiate(float (&dp)[kScores], const float (&p)[kScores],
                                                const Ring& gradients) {
    const float2* const deltas = stats_of(gradients);
#pragma unroll
    for (int j = 0; j < kScores / 4; ++j) {
      const float2 delta = deltas[4 * j];
      dp[4 * j] = p[4 * j] * (dp[4 * j] - delta.x);
      dp[4 * j + 1] = p[4 * j + 1] * (dp[4 * j + 1] - delta.y);
      dp[4 * j + 2] = p[4 * j + 2] * (dp[4 * j + 2] - delta.x);
      dp[4 * j + 3] = p[4 * j + 3] * (dp[4 * j + 3] - delta.y);
    }
  }

  // What the tensor cores do, in order: S0 dP0 | dV0 dK0 S1 dP1 | dV1 dK1 S2 dP2 | ...; while a step's exponentials are
  // computed its dP runs, and while its differences are, its dV. Only gradients are in flight from one step to the next: ptxas
  // serialises what reads accumulators of an earlier round of the loop.
  __device__ __forceinline__ void accumulate(float (&grad_k)[kOutputs], float (&grad_v)[kOutputs],
                                             const WorkMessage& work) {
    float scores[kScores], dp[kScores];
    std::uint32_t p[kScores / 2], ds[kScores / 2];
    const int first_key = work.block * kBlock + number * kTileRows;

    Ring previous_queries = ring, previous_gradients = ring;
    for (int i = 0; i < work.num_steps; ++i) {
      const Ring queries = ring;
      ring.advance();
      const Ring gradients = ring;
      ring.advance();
      this->wait_full(queries);
      start_scores(scores, 0, queries);
      hopper::wgmma_wait<1>();
      hopper::pin(p);
      hopper::pin(ds);
      if (i > 0) {
        this->release(previous_queries);
        this->release(previous_gradients);
      }
      this->wait_full(gradients);
      start_scores(dp, 1, gradients);
      hopper::wgmma_wait<1>();
      hopper::pin(scores);
      exponentiate(scores, queries, first_key);
      hopper::pack_operands<T>(p, scores);
      hopper::pin(p);
      this->start_gradient(grad_v, p, gradients);
      hopper::wgmma_wait<1>();
      hopper::pin(dp);
      if (i + 1 == work.num_steps) this->release_work();
      differentiate(dp, scores, gradients);
      hopper::pack_operands<T>(ds, dp);
      hopper::pin(ds);
      this->start_gradient(grad_k, ds, queries);
      previous_queries = queries;
      previous_gradients = gradients;
    }
    hopper::wgmma_wait<0>();
    hopper::pin(grad_k);
    hopper::pin(grad_v);
    this->release(previous_queries);
    this->release(previous_gradients);
  }

  __device__ __forceinline__ void store(const float (&from)[kOutputs], void* to,
                                        const Strides& strides, float factor,
                                        const WorkMessage& work) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = work.block * kBlock + number * kTileRows + this->first_row() + 8 * i;
      T* const row_of_head = static_cast<T*>(to) + work.batch * strides.batch +
                             work.head * strides.head + row * strides.row;
      hopper::store_row(row_of_head, from, i, factor, row < arguments.forward.kv_len);
    }
  }
  __device__ __forceinline__ void store_partial(const float (&from)[kOutputs], int which,
                                                const WorkMessage& work) {
    float4* const to =
        reinterpret_cast<float4*>(arguments.partials) +
        (static_cast<std::int64_t>(work.partial * P::kWarpgroupsInGroup + number) * 2 + which) *
            (kOutputs / 4 * 128) +
        thread;
#pragma unroll
    for (int i = 0; i < kOutputs / 4; ++i) {
      to[i * 128] = make_float4(from[4 * i], from[4 * i + 1], from[4 * i + 2], from[4 * i + 3]);
    }
  }
};

}  // namespace seer::sm90
