#include "support/host_tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>

#include "support/float16.h"

namespace seer::test {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kGuardBytes = 256;  // more than three vectors, and keeps the alignment
constexpr std::byte kGuardValue{0xA5};
constexpr std::byte kOutputFill{0x5A};
constexpr std::byte kInputFill{0xFF};  // a NaN in each element type
constexpr std::int64_t kRowPadding = 5;
constexpr std::int64_t kAlignedElements = 8;  // 16 bytes of two-byte elements

Strides layout_strides(Layout layout, std::int64_t heads, std::int64_t length,
                       std::int64_t head_dim) {
  switch (layout) {
    case Layout::kContiguous:
    case Layout::kOddAddress: return {heads * length * head_dim, length * head_dim, head_dim};
    case Layout::kLengthMajor: return {length * heads * head_dim, head_dim, heads * head_dim};
    case Layout::kPaddedRows: {
      const std::int64_t row = head_dim + kRowPadding;
      return {heads * (length * row + 3), length * row + 3, row};
    }
    case Layout::kAlignedRows: {
      const std::int64_t row =
          (head_dim / kAlignedElements + 2) * kAlignedElements;  // at least one more than it takes
      const std::int64_t head = length * row + kAlignedElements;
      return {heads * head + kAlignedElements, head, row};
    }
  }
  throw std::logic_error("unknown layout");
}

// Elements from the first to the last one: a view may end where its allocation does.
std::int64_t extent(const Strides& strides, std::int64_t batch, std::int64_t heads,
                    std::int64_t length, std::int64_t head_dim) {
  if (batch == 0 || heads == 0 || length == 0 || head_dim == 0) return 0;
  return (batch - 1) * strides.batch + (heads - 1) * strides.head + (length - 1) * strides.row +
         head_dim;
}

}  // namespace

void GuardedMemory::FreeAligned::operator()(std::byte* memory) const {
  ::operator delete (memory, std::align_val_t{kAlignment});
}

GuardedMemory::GuardedMemory(std::size_t size, std::size_t misalignment, Guards guards,
                             std::byte fill)
    : size_(size),
      guard_bytes_(guards == Guards::kBothSides ? kGuardBytes : 0),
      first_(guard_bytes_ + misalignment) {
  const std::size_t total = first_ + size + guard_bytes_;
  void* memory = ::operator new (total, std::align_val_t{kAlignment});
  allocation_.reset(static_cast<std::byte*>(memory));
  std::fill_n(allocation_.get(), total, kGuardValue);
  std::fill_n(data(), size, fill);
}

GuardedMemory::GuardedMemory(const GuardedMemory& other)
    : GuardedMemory(other.size_, other.first_ - other.guard_bytes_,
                    other.guard_bytes_ > 0 ? Guards::kBothSides : Guards::kNone, std::byte{0}) {
  std::copy_n(other.data(), size_, data());
}

bool GuardedMemory::guards_intact() const {
  const auto is_guard = [](std::byte value) { return value == kGuardValue; };
  const std::byte* end = data() + size_;
  return std::all_of(allocation_.get(), allocation_.get() + first_, is_guard) &&
         std::all_of(end, end + guard_bytes_, is_guard);
}

std::size_t element_bytes(Element element) {
  switch (element) {
    case Element::kFloat32: return 4;
    case Element::kBFloat16:
    case Element::kFloat16: return 2;
    case Element::kFloat64: return 8;
  }
  throw std::logic_error("unknown element");
}

std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

HostTensor::HostTensor(std::int64_t batch, std::int64_t heads, std::int64_t length,
                       std::int64_t head_dim, Element element, Layout layout, Role role)
    : batch_(batch),
      heads_(heads),
      length_(length),
      head_dim_(head_dim),
      element_(element),
      strides_(layout_strides(layout, heads, length, head_dim)),
      memory_(
          static_cast<std::size_t>(extent(strides_, batch, heads, length, head_dim)) *
              element_bytes(element),
          layout == Layout::kOddAddress ? element_bytes(element) : 0,
          role == Role::kOutput ? GuardedMemory::Guards::kBothSides : GuardedMemory::Guards::kNone,
          role == Role::kOutput ? kOutputFill : kInputFill) {}

std::int64_t HostTensor::offset(std::int64_t batch, std::int64_t head, std::int64_t row,
                                std::int64_t column) const {
  return batch * strides_.batch + head * strides_.head + row * strides_.row + column;
}

double HostTensor::at(std::int64_t batch, std::int64_t head, std::int64_t row,
                      std::int64_t column) const {
  const auto index = static_cast<std::size_t>(offset(batch, head, row, column));
  const std::byte* place = memory_.data() + index * element_bytes(element_);
  if (element_ == Element::kFloat64) {
    double value;
    std::memcpy(&value, place, sizeof value);
    return value;
  }
  if (element_ == Element::kFloat32) {
    float value;
    std::memcpy(&value, place, sizeof value);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, place, sizeof bits);
  if (element_ == Element::kFloat16) return float16_to_double(bits);
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

void HostTensor::set(std::int64_t batch, std::int64_t head, std::int64_t row, std::int64_t column,
                     double value) {
  const auto index = static_cast<std::size_t>(offset(batch, head, row, column));
  std::byte* place = memory_.data() + index * element_bytes(element_);
  const auto narrow = static_cast<float>(value);
  if (element_ == Element::kFloat64) {
    std::memcpy(place, &value, sizeof value);
  } else if (element_ == Element::kFloat32) {
    std::memcpy(place, &narrow, sizeof narrow);
  } else {
    const std::uint16_t bits =
        element_ == Element::kFloat16 ? double_to_float16(value) : to_bfloat16(narrow);
    std::memcpy(place, &bits, sizeof bits);
  }
}

std::vector<double> HostTensor::values() const {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(batch_ * heads_ * length_ * head_dim_));
  for (std::int64_t b = 0; b < batch_; ++b) {
    for (std::int64_t h = 0; h < heads_; ++h) {
      for (std::int64_t row = 0; row < length_; ++row) {
        for (std::int64_t d = 0; d < head_dim_; ++d) values.push_back(at(b, h, row, d));
      }
    }
  }
  return values;
}

bool HostTensor::surroundings_intact() const {
  if (!memory_.guards_intact()) return false;
  const std::size_t width = element_bytes(element_);
  std::vector<bool> owned(memory_.size() / width, false);
  for (std::int64_t b = 0; b < batch_; ++b) {
    for (std::int64_t h = 0; h < heads_; ++h) {
      for (std::int64_t row = 0; row < length_; ++row) {
        const auto first = owned.begin() + offset(b, h, row, 0);
        std::fill(first, first + head_dim_, true);
      }
    }
  }
  for (std::size_t index = 0; index < owned.size(); ++index) {
    if (owned[index]) continue;
    const std::byte* place = memory_.data() + index * width;
    if (!std::all_of(place, place + width, [](std::byte v) { return v == kOutputFill; })) {
      return false;
    }
  }
  return true;
}

}  // namespace seer::test
