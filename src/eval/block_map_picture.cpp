#include "eval/block_map_picture.h"

#include <ATen/ops/max_pool2d.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace seer {
namespace {

constexpr std::int64_t kMostBlocks = 256;
constexpr std::uint8_t kInvisible = 255;  // the palette's last entry; those before are the scale
constexpr int kShades = 255;

using Colour = std::array<std::uint8_t, 3>;

// Ever darker, so that it reads in grey and for all kinds of colour vision.
Colour shade(double share) {
  static constexpr std::array<std::array<double, 3>, 5> kScale = {
      {{255, 255, 255}, {205, 224, 241}, {122, 177, 217}, {39, 111, 178}, {8, 38, 92}}};
  const double place = std::clamp(share, 0.0, 1.0) * (kScale.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(place), kScale.size() - 2);
  const double rest = place - static_cast<double>(below);
  Colour colour{};
  for (std::size_t i = 0; i < 3; ++i) {
    colour[i] = static_cast<std::uint8_t>(
        std::lround(kScale[below][i] * (1 - rest) + kScale[below + 1][i] * rest));
  }
  return colour;
}

double share_of(double probability) {
  if (!(probability > kPictureFloor)) return 0;
  return std::clamp(1 - std::log(probability) / std::log(kPictureFloor), 0.0, 1.0);
}

std::string png_file(const std::vector<std::uint8_t>& pixels, std::int64_t height,
                     std::int64_t width) {
  std::vector<std::uint8_t> palette;
  for (int i = 0; i < kShades; ++i) {
    const Colour colour = shade(static_cast<double>(i) / (kShades - 1));
    palette.insert(palette.end(), colour.begin(), colour.end());
  }
  palette.insert(palette.end(), {232, 232, 232});
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_RGB_COLORMAP;
  image.colormap_entries = kShades + 1;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string file(size, '\0');
  if (png_image_write_to_memory(&image, file.data(), &size, 0, pixels.data(), 0, palette.data()) ==
      0) {
    throw std::runtime_error(fmt::format("picture: libpng: {}", image.message));
  }
  file.resize(size);
  return file;
}

}  // namespace

std::string block_map_png(const at::Tensor& map) {
  at::Tensor values = map.to(at::kFloat);
  const std::int64_t factor = (values.size(1) + kMostBlocks - 1) / kMostBlocks;
  if (factor > 1) {
    values = at::max_pool2d(values.unsqueeze(0), {factor, factor}, {}, 0, 1, /*ceil_mode=*/true)[0];
  }
  values = values.contiguous();
  const std::int64_t rows = values.size(0), columns = values.size(1);
  const auto* const data = values.const_data_ptr<float>();
  std::vector<std::uint8_t> pixels;
  pixels.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const bool visible = column <= row + columns - rows;
      pixels.push_back(visible ? static_cast<std::uint8_t>(std::lround(
                                     share_of(data[row * columns + column]) * (kShades - 1)))
                               : kInvisible);
    }
  }
  return png_file(pixels, rows, columns);
}

std::string block_map_data_url(const at::Tensor& map) {
  const std::string png = block_map_png(map);
  std::string base64(4 * ((png.size() + 2) / 3) + 1, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(base64.data()),
                  reinterpret_cast<const unsigned char*>(png.data()), static_cast<int>(png.size()));
  base64.pop_back();  // its zero
  return "data:image/png;base64," + base64;
}

std::string probability_colour(double probability) {
  const Colour colour = shade(share_of(probability));
  return fmt::format("#{:02x}{:02x}{:02x}", colour[0], colour[1], colour[2]);
}

}  // namespace seer
