// Tensors in plain memory for kernel tests: any strides, and a watch over the bytes around them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/block_sparse_attention/params.h"

namespace seer::test {

// Where a [batch, heads, length, head_dim] tensor lies in memory.
enum class Layout {
  kContiguous,   // as written
  kLengthMajor,  // [batch, length, heads, head_dim], seen transposed
  kPaddedRows,   // every row is followed by elements of somebody else
  kOddAddress,   // contiguous, but the first element is aligned to its own size only
  kAlignedRows,  // as kPaddedRows, but every row begins at a multiple of 16 bytes
};

// Bytes between two guards. `misalignment` moves the first byte away from a 64-byte boundary.
// Without guards the memory ends where the allocation does, so that an address sanitizer sees an
// access beyond it.
class GuardedMemory {
 public:
  enum class Guards { kNone, kBothSides };

  GuardedMemory(std::size_t size, std::size_t misalignment, Guards guards, std::byte fill);
  GuardedMemory(const GuardedMemory& other);
  GuardedMemory(GuardedMemory&&) = default;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  GuardedMemory& operator=(GuardedMemory&&) = default;

  std::byte* data() { return allocation_.get() + first_; }
  const std::byte* data() const { return allocation_.get() + first_; }
  std::size_t size() const { return size_; }
  bool guards_intact() const;

 private:
  struct FreeAligned {
    void operator()(std::byte* memory) const;
  };

  std::size_t size_;
  std::size_t guard_bytes_;
  std::size_t first_;  // from the start of the allocation, in bytes
  std::unique_ptr<std::byte[], FreeAligned> allocation_;
};

// A [batch, heads, length, head_dim] tensor. Elements that belong to no index are NaN in inputs and
// watched in outputs.
class HostTensor {
 public:
  enum class Role { kInput, kOutput };

  HostTensor(std::int64_t batch, std::int64_t heads, std::int64_t length, std::int64_t head_dim,
             Element element, Layout layout, Role role);

  double at(std::int64_t batch, std::int64_t head, std::int64_t row, std::int64_t column) const;
  void set(std::int64_t batch, std::int64_t head, std::int64_t row, std::int64_t column,
           double value);

  // The elements in index order, exactly.
  std::vector<double> values() const;

  // False when a byte was changed that belongs to no element.
  bool surroundings_intact() const;

  void* data() { return memory_.data(); }
  const void* data() const { return memory_.data(); }
  std::size_t size_bytes() const { return memory_.size(); }  // from the first element to the last
  const Strides& strides() const { return strides_; }
  std::int64_t batch() const { return batch_; }
  std::int64_t heads() const { return heads_; }
  std::int64_t length() const { return length_; }
  std::int64_t head_dim() const { return head_dim_; }

 private:
  std::int64_t offset(std::int64_t batch, std::int64_t head, std::int64_t row,
                      std::int64_t column) const;

  std::int64_t batch_, heads_, length_, head_dim_;
  Element element_;
  Strides strides_;
  GuardedMemory memory_;
};

std::size_t element_bytes(Element element);

// To the nearest bfloat16, ties to even; NaN stays NaN.
std::uint16_t to_bfloat16(float value);

}  // namespace seer::test
