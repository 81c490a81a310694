// Times the backward of Seer's attention against that of LibTorch's.
#pragma once

#include <functional>
#include <string>

#include "bench/kernels/attention_bench.h"

namespace seer::bench {

// run_attention_bench() of options that say `backward`. Both sides are given the result and lse of their own forward.
AttentionBenchResult run_attention_backward_bench(
    const AttentionBenchOptions& options, const std::function<void()>& before_call,
    const std::function<void(const std::string&)>& say);

}  // namespace seer::bench
