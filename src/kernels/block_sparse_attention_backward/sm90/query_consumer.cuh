// A consumer of the kernel for the gradients of queries: one warpgroup, 64 queries.
#pragma once

#include "kernels/block_sparse_attention_backward/sm90/consumer.cuh"

namespace seer::sm90 {

template <hopper::TwoByteFloat T, int kBlock, int kHeadDim>
struct QueryConsumer : BackwardConsumer<T, kHeadDim, QueryStorage<kBlock, kHeadDim>,
                                        BackwardPlan<kBlock, kHeadDim>::kQuerySlots> {
  using P = BackwardPlan<kBlock, kHeadDim>;
  using Base = BackwardConsumer<T, kHeadDim, QueryStorage<kBlock, kHeadDim>, P::kQuerySlots>;
  using Base::arguments, Base::shared, Base::group, Base::number, Base::thread, Base::ring;
  using Base::kOutputs;
  using typename Base::Ring;
  static constexpr int kParts = kHeadDim / 16;
  using Operand = std::uint32_t[kParts][4];  // 64 rows as wgmma takes its left operand
  // In this instance ptxas 13.0 lets `ds` have the registers of `grad_out`, which the next step still reads. It does not where
  // the product reads registers that are made in the step.
  static constexpr bool kCopiesOperand = kBlock == 64 && kHeadDim == 64;

  __device__ __forceinline__ void run() {
    std::uint32_t parity = 0;
    for (;;) {
      shared.group[group].work_full.wait(parity);
      parity ^= 1;
      const WorkMessage work = this->message();
      this->release_work();
      if (work.num_steps < 0) break;
      float grad_q[kOutputs];
#pragma unroll
      for (int i = 0; i < kOutputs; ++i) grad_q[i] = 0;
      if (work.num_steps > 0) accumulate(grad_q, work);
      store(grad_q, work);
    }
  }

 private:
  // Takes the group's next tiles of 64 rows, one for each warpgroup: its own to registers, with its rows' statistic.
  __device__ __forceinline__ void take_rows(Operand& to, float (&stats)[2]) {
#pragma unroll
    for (int i = 0; i < P::kWarpgroupsInGroup; ++i) {
      this->wait_full(ring);  // also the other's: an arrival must not count for the pass before
      if (i == number) {
        const int row = thread / 32 * 16 + this->lane() % 16;
        const std::uint32_t address = this->address_of(ring) + row * 128;
#pragma unroll
        for (int step = 0; step < kParts; ++step) {
          const int piece = step % 4 * 2 + this->lane() / 16;  // of 16 bytes, in a row of 128
          hopper::load_matrices(to[step],
                                address + step / 4 * kColumnGroupBytes + (piece ^ row % 8) * 16);
        }
        stats[0] = shared.stats[group][ring.slot][this->first_row()];
        stats[1] = shared.stats[group][ring.slot][this->first_row() + 8];
      }
      this->release(ring);
      ring.advance();
    }
  }

  static __device__ __forceinline__ void exclusive_or(Operand& to, const Operand& from,
                                                      std::uint32_t bits) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        asm volatile("xor.b32 %0, %1, %2;" : "=r"(to[part][i]) : "r"(from[part][i]), "r"(bits));
      }
    }
  }

  // to[64 queries, 64 keys] = rows x (ring tile)^T
  __device__ __forceinline__ void start_scores(float (&to)[kScores], const Operand& rows,
                                               const Ring& at) {
    const std::uint32_t b = this->address_of(at);
    hopper::pin(to);
    hopper::wgmma_fence();
#pragma unroll
    for (int step = 0; step < kParts; ++step) {
      const std::uint32_t offset = step / 4 * kColumnGroupBytes + step % 4 * 32;
      hopper::Product<T, 64>::template rs<false>(
          to, rows[step][0], rows[step][1], rows[step][2], rows[step][3],
          hopper::matrix_descriptor(b + offset, 0), step > 0);
    }
    hopper::wgmma_commit();
  }

  __device__ __forceinline__ void exponentiate(float (&scores)[kScores],
                                               const float (&minus_lse)[2], int first_key,
                                               int first_query) {
    const float scale = arguments.forward.scale_log2;
#pragma unroll
    for (int n = 0; n < kScores; ++n) {
      scores[n] = exp2_approx(fmaf(scores[n], scale, minus_lse[n / 2 % 2]));
    }
    const Arguments& a = arguments.forward;
    if (first_key + kTileRows <= a.kv_len &&
        first_key + kTileRows - 1 <= first_query + a.causal_shift) {
      return;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = first_query + this->first_row() + 8 * i;
      const int keys = min(row + a.causal_shift + 1, a.kv_len) - first_key;
#pragma unroll
      for (int j = 0; j < kScores / 4; ++j) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          if (8 * j + this->lane() % 4 * 2 + c >= keys) scores[4 * j + 2 * i + c] = 0;
        }
      }
    }
  }
  // dp becomes p (dp - delta).
  static __device__ __forceinline__ void differentiate(float (&dp)[kScores],
                                                       const float (&p)[kScores],
                                                       const float (&delta)[2]) {
#pragma unroll
    for (int n = 0; n < kScores; ++n) dp[n] = p[n] * (dp[n] - delta[n / 2 % 2]);
  }

  // What the tensor cores do, in order: S0 dP0 | dQ0 S1 dP1 | dQ1 S2 dP2 | ...; while a step's exponentials are computed its
  // dP runs.
  __device__ __forceinline__ void accumulate(float (&grad_q)[kOutputs], const WorkMessage& work) {
    Operand q, grad_out;
    float minus_lse[2], delta[2];
    float scores[kScores], dp[kScores];
    std::uint32_t ds[kScores / 2];
    const int first_query = work.block * kBlock + number * kTileRows;

    take_rows(q, minus_lse);
    take_rows(grad_out, delta);

    const auto zero = static_cast<std::uint32_t>(arguments.num_columns >> 31);
    Ring previous_keys = ring;
    for (int i = 0; i < work.num_steps; ++i) {
      const Ring keys = ring;
      ring.advance();
      const Ring values = ring;
      ring.advance();
      this->wait_full(keys);
      start_scores(scores, q, keys);
      hopper::wgmma_wait<1>();
      hopper::pin(ds);
      if (i > 0) this->release(previous_keys);
      this->wait_full(values);
      if constexpr (kCopiesOperand) {
        Operand copy;
        exclusive_or(copy, grad_out, zero);
        start_scores(dp, copy, values);
      } else {
        start_scores(dp, grad_out, values);
      }
      const int first_key = this->row_of(keys);
      hopper::wgmma_wait<1>();
      hopper::pin(scores);
      exponentiate(scores, minus_lse, first_key, first_query);
      hopper::wgmma_wait<0>();
      hopper::pin(dp);
      this->release(values);
      differentiate(dp, scores, delta);
      hopper::pack_operands<T>(ds, dp);
      hopper::pin(ds);
      this->start_gradient(grad_q, ds, keys);
      previous_keys = keys;
    }
    hopper::wgmma_wait<0>();
    hopper::pin(grad_q);
    this->release(previous_keys);
  }

  __device__ __forceinline__ void store(const float (&grad_q)[kOutputs], const WorkMessage& work) {
    const Strides& strides = arguments.grad_q_strides;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = work.block * kBlock + number * kTileRows + this->first_row() + 8 * i;
      T* const to = static_cast<T*>(arguments.grad_q) + work.batch * strides.batch +
                    work.head * strides.head + row * strides.row;
      hopper::store_row(to, grad_q, i, arguments.scale, row < arguments.forward.q_len);
    }
  }
};

}  // namespace seer::sm90
