#include "trainer/data/framing.h"

#include <algorithm>
#include <cmath>

#include "comm/base/error.h"
#include "trainer/base/keyed_random.h"

namespace largo::data {

namespace {

constexpr double kLeastArea = 0.08, kMostArea = 1;          // of the image's
constexpr double kFlattest = 4.0 / 3, kSteepest = 3.0 / 4;  // width / height
constexpr int kAttempts = 10;

Rect centred(int64_t height, int64_t width, int64_t image_height, int64_t image_width) {
  height = std::clamp<int64_t>(height, 1, image_height);
  width = std::clamp<int64_t>(width, 1, image_width);
  return {(image_height - height) / 2, (image_width - width) / 2, height, width};
}

int64_t rounded(double value) { return static_cast<int64_t>(std::llround(value)); }

int64_t draw_offset(KeyedRandom& random, int64_t most) {
  return static_cast<int64_t>(random.below(static_cast<uint64_t>(most) + 1));
}

Rect random_rect(const Framing& framing, int64_t image_height, int64_t image_width) {
  KeyedRandom random(framing.seed, Purpose::kCrop, static_cast<uint32_t>(framing.key.epoch),
                     static_cast<uint64_t>(framing.key.index));
  const auto h = static_cast<double>(image_height), w = static_cast<double>(image_width);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const double area = h * w * (kLeastArea + (kMostArea - kLeastArea) * random.uniform());
    const double ratio = kSteepest * std::pow(kFlattest / kSteepest, random.uniform());
    const int64_t height = rounded(std::sqrt(area / ratio));
    const int64_t width = rounded(std::sqrt(area * ratio));
    if (height < 1 || height > image_height || width < 1 || width > image_width) continue;
    const int64_t top = draw_offset(random, image_height - height);
    return {top, draw_offset(random, image_width - width), height, width};
  }
  if (w < h * kSteepest)
    return centred(rounded(w / kSteepest), image_width, image_height, image_width);
  if (w > h * kFlattest)
    return centred(image_height, rounded(h * kFlattest), image_height, image_width);
  return {0, 0, image_height, image_width};
}

Rect central_rect(const Framing& framing, int64_t image_height, int64_t image_width) {
  const auto height = static_cast<double>(framing.height);
  const auto width = static_cast<double>(framing.width);
  const double scale = framing.share * std::min(static_cast<double>(image_height) / height,
                                                static_cast<double>(image_width) / width);
  return centred(rounded(scale * height), rounded(scale * width), image_height, image_width);
}

}  // namespace

Rect choose_rect(const Framing& framing, int64_t image_height, int64_t image_width) {
  LARGO_CHECK(image_height > 0 && image_width > 0, image_height, " x ", image_width);
  if (framing.cut == Cut::kRandom) return random_rect(framing, image_height, image_width);
  if (framing.cut == Cut::kWhole) return {0, 0, image_height, image_width};
  LARGO_CHECK(framing.height > 0 && framing.width > 0, framing.height, " x ", framing.width);
  return central_rect(framing, image_height, image_width);
}

}  // namespace largo::data
