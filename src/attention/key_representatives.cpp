#include "attention/key_representatives.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>

namespace seer {

void KeyRepresentatives::truncate(std::int64_t length, const Gate& gate) {
  TORCH_CHECK(length % gate.config().block_size == 0 && length <= whole_,
              "KeyRepresentatives: expected a multiple of ", gate.config().block_size, " up to ",
              whole_, ", got ", length);
  whole_ = length;
  tail_ = at::Tensor();
}

void KeyRepresentatives::append(const at::Tensor& k, const at::Tensor& features, const Gate& gate) {
  TORCH_CHECK(!features.defined() || !tail_.defined(),
              "KeyRepresentatives: features of keys that begin inside a block");
  const at::Tensor tokens = tail_.defined() ? at::cat({tail_, k}, 2) : k;
  const std::int64_t block_size = gate.config().block_size;
  const std::int64_t whole = tokens.size(2) / block_size * block_size;
  if (whole > 0) {
    const at::Tensor reps =
        features.defined()
            ? gate.representatives_of_keys(features.narrow(2, 0, whole / gate.k_tokens()), whole_)
            : gate.key_representatives(tokens.narrow(2, 0, whole), whole_);
    const std::int64_t before = whole_ / gate.k_tokens();
    const std::int64_t after = before + reps.size(2);
    if (!reps_.defined() || reps_.size(2) < after) {
      // Twice as much as there was, so that a sequence that grows block by block is not copied each time.
      const std::int64_t capacity = std::max(after, reps_.defined() ? 2 * reps_.size(2) : 0);
      const at::Tensor larger =
          at::empty({1, reps.size(1), capacity, reps.size(3)}, reps.options());
      if (before > 0) larger.narrow(2, 0, before).copy_(reps_.narrow(2, 0, before));
      reps_ = larger;
    }
    reps_.narrow(2, before, reps.size(2)).copy_(reps);
    whole_ += whole;
  }
  const std::int64_t left = tokens.size(2) - whole;
  // A copy: a view would keep the whole chunk in memory.
  tail_ = left > 0 ? tokens.narrow(2, whole, left).clone() : at::Tensor();
}

at::Tensor KeyRepresentatives::all(const Gate& gate) const {
  const std::int64_t whole = whole_ / gate.k_tokens();
  if (!tail_.defined()) {
    TORCH_CHECK(reps_.defined(), "KeyRepresentatives: no tokens yet");
    return reps_.narrow(2, 0, whole);
  }
  const at::Tensor last = gate.key_representatives(tail_, whole_);
  return whole == 0 ? last : at::cat({reps_.narrow(2, 0, whole), last}, 2);
}

}  // namespace seer
