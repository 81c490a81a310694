#include "bench/support/fma_peak.h"

#include <ATen/Parallel.h>

#include <chrono>
#include <cstddef>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace seer::bench {
namespace {

// Independent sums in flight: a multiply-add takes 4 to 6 cycles and two start each cycle, so at
// least 12 are needed; a set of 16 registers has room for 12 and two factors, one of 32 for 24.
constexpr int kChains = 12;
constexpr int kChains512 = 24;
constexpr long kFirstRounds = 1 << 12;

// Factors and first sums are hidden from the optimizer (the empty asm): else it folds the loop
// away, or finds that all chains are equal and computes one. Each function returns something that
// depends on all of its work. The values keep every sum near 1: no overflow, no denormals.
using Vector4 = float __attribute__((vector_size(16)));

[[gnu::always_inline]] inline void hide(Vector4& value) {
#if defined(__x86_64__)
  asm volatile("" : "+x"(value));
#else
  asm volatile("" : "+w"(value));
#endif
}

[[gnu::noinline]] float run_portable(long rounds) {
  Vector4 factor = {0.5F, 0.5F, 0.5F, 0.5F};
  Vector4 addend = factor;
  hide(factor);
  hide(addend);
  Vector4 sums[kChains] = {};
  for (Vector4& sum : sums) hide(sum);
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (Vector4& sum : sums) sum = sum * factor + addend;
  }
  Vector4 total = {};
  for (const Vector4& sum : sums) total += sum;
  return total[0] + total[1] + total[2] + total[3];
}

#if defined(__x86_64__)
[[gnu::noinline, gnu::target("avx2,fma")]] float run_avx2(long rounds) {
  __m256 factor = _mm256_set1_ps(0.5F);
  __m256 addend = factor;
  asm volatile("" : "+x"(factor), "+x"(addend));
  __m256 sums[kChains] = {};
  for (__m256& sum : sums) asm volatile("" : "+x"(sum));
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, addend);
  }
  __m256 total = _mm256_setzero_ps();
  for (const __m256& sum : sums) total = _mm256_add_ps(total, sum);
  return _mm256_cvtss_f32(total);
}

[[gnu::noinline, gnu::target("avx512f")]] float run_avx512(long rounds) {
  __m512 factor = _mm512_set1_ps(0.5F);
  __m512 addend = factor;
  asm volatile("" : "+v"(factor), "+v"(addend));
  __m512 sums[kChains512] = {};
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, addend);
  }
  __m512 total = _mm512_setzero_ps();
  for (const __m512& sum : sums) total = _mm512_add_ps(total, sum);
  return _mm512_cvtss_f32(total);
}

[[gnu::noinline, gnu::target("avx512f,avx512bf16")]] float run_avx512_bfloat16_dot(long rounds) {
  // Products alternate in sign inside a lane, so that the sums stay where they are.
  __m512bh left = (__m512bh)_mm512_set1_epi32(0x3F803F80);   // 1, 1
  __m512bh right = (__m512bh)_mm512_set1_epi32(0x3F80BF80);  // -1, 1
  asm volatile("" : "+v"(left), "+v"(right));
  __m512 sums[kChains512] = {};
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, left, right);
  }
  __m512 total = _mm512_setzero_ps();
  for (const __m512& sum : sums) total = _mm512_add_ps(total, sum);
  return _mm512_cvtss_f32(total);
}
#endif

float run_rounds(FmaKind kind, CpuIsa isa, long rounds) {
#if defined(__x86_64__)
  if (kind == FmaKind::kBFloat16Dot) return run_avx512_bfloat16_dot(rounds);
  if (isa >= CpuIsa::kAvx512) return run_avx512(rounds);
  if (isa == CpuIsa::kAvx2) return run_avx2(rounds);
#else
  (void)kind;
  (void)isa;
#endif
  return run_portable(rounds);
}

double flops_per_round(FmaKind kind, CpuIsa isa) {
  const double operations = kind == FmaKind::kBFloat16Dot ? 4 : 2;  // of a lane
  if (isa >= CpuIsa::kAvx512) return kChains512 * 16 * operations;
  return kChains * (isa == CpuIsa::kAvx2 ? 8 : 4) * operations;
}

}  // namespace

FmaKind fma_kind(CpuIsa isa, bool is_bfloat16) {
  return is_bfloat16 && isa == CpuIsa::kAvx512Bf16 ? FmaKind::kBFloat16Dot : FmaKind::kFloat32;
}

std::string fma_kind_name(FmaKind kind) {
  return kind == FmaKind::kBFloat16Dot ? "bfloat16 dot product" : "float32 fma";
}

FmaPeak::FmaPeak(FmaKind kind, CpuIsa isa, int threads, double seconds)
    : kind_(kind), isa_(isa), threads_(threads), rounds_(kFirstRounds) {
  // Longer and longer runs, until one is long enough to be believed.
  for (;;) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (taken.count() >= seconds / 2) {
      rounds_ = static_cast<long>(static_cast<double>(rounds_) * seconds / taken.count());
      return;
    }
    rounds_ *= 2;
  }
}

void FmaPeak::run() const {
  at::parallel_for(0, threads_, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t worker = begin; worker < end; ++worker) {
      volatile float sink = run_rounds(kind_, isa_, rounds_);
      (void)sink;
    }
  });
}

double FmaPeak::flops() const {
  return flops_per_round(kind_, isa_) * static_cast<double>(rounds_) * threads_;
}

}  // namespace seer::bench
