#pragma once

#include <ATen/core/Tensor.h>

namespace seer {

// Asks the system to back a fresh tensor's memory with huge pages where it offers them on request (Linux, transparent
// huge pages set to "madvise"). An output of tens of megabytes otherwise costs thousands of page faults, which at a
// density of 0.1 is up to a tenth of the attention's time. A hint: it never fails and changes no result. For tensors
// that will be written whole.
void advise_huge_pages(const at::Tensor& fresh);

}  // namespace seer
