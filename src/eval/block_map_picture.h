// Block maps as pictures: one pixel a block.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace seer {

// A PNG file of map [query blocks, key blocks], float32 or bool. Probabilities from kPictureFloor to 1 on a
// logarithmic scale from white to dark blue, less is white; bool: dark blue where true. Blocks after the query are grey.
// Maps of more than 256 blocks show the largest value of neighbouring ones.
std::string block_map_png(const at::Tensor& map);
// The same as a data: URL.
std::string block_map_data_url(const at::Tensor& map);

inline constexpr double kPictureFloor = 1e-4;

// The colour of a probability, "#rrggbb".
std::string probability_colour(double probability);

}  // namespace seer
