#include "trainer/data/resize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "comm/base/error.h"

namespace largo::data {
namespace {

Image test_image(int64_t height, int64_t width, int64_t channels) {
  Image image;
  image.resize(height, width, channels);
  image.pixels.resize(static_cast<size_t>(height * width * channels));
  image.pixels.shrink_to_fit();  // a sanitizer then sees reads past the end
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<uint8_t>(i * i * 7 + i * 37 + 11);
  }
  return image;
}

std::vector<int> resized(const Image& from, int64_t height, int64_t width) {
  Image to;
  Resizer().resize(from, height, width, to);
  EXPECT_EQ(to.height, height);
  EXPECT_EQ(to.width, width);
  EXPECT_EQ(to.channels, from.channels);
  return {to.pixels.begin(), to.pixels.begin() + height * width * from.channels};
}

uint64_t fnv1a(const std::vector<int>& bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const int byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001b3;
  return hash;
}

// The golden numbers were made with Pillow 13.0: test_image as an array a, and
//   im = Image.fromarray(a)
//   im.resize((width, im.height), Image.BILINEAR).resize((width, height), Image.BILINEAR)
TEST(Resizer, AgreesWithPillow) {
  EXPECT_THAT(
      resized(test_image(7, 9, 3), 3, 4),
      testing::ElementsAreArray({158, 119, 141, 154, 130, 149, 121, 138, 120, 144, 153, 138,
                                 114, 156, 151, 139, 141, 150, 137, 120, 135, 131, 143, 132,
                                 133, 113, 120, 95,  178, 128, 117, 110, 109, 108, 128, 102}));
  EXPECT_THAT(resized(test_image(3, 2, 3), 4, 5),
              testing::ElementsAreArray(
                  {11,  55,  113, 28,  51,  113, 98,  35,  114, 168, 19, 115, 185, 15, 115,
                   147, 84,  194, 148, 80,  194, 153, 63,  194, 158, 45, 194, 159, 41, 194,
                   212, 115, 193, 203, 111, 192, 168, 93,  191, 133, 74, 190, 124, 70, 189,
                   183, 139, 109, 174, 134, 108, 138, 115, 106, 102, 96, 104, 93,  91, 103}));
  EXPECT_THAT(resized(test_image(11, 4, 1), 5, 6),
              testing::ElementsAreArray({57,  77,  107, 143, 156, 160, 167, 149, 127, 112,
                                         130, 153, 149, 121, 97,  111, 157, 200, 135, 130,
                                         132, 157, 173, 183, 164, 187, 186, 88,  101, 138}));
}

TEST(Resizer, AgreesWithPillowOnLargeImages) {
  EXPECT_EQ(fnv1a(resized(test_image(60, 75, 3), 224, 224)), 0x1fdd2d5a72091745u);
  EXPECT_EQ(fnv1a(resized(test_image(375, 500, 3), 224, 224)), 0xb4bdd57ae53d875du);
  EXPECT_EQ(fnv1a(resized(test_image(333, 131, 1), 32, 32)), 0x8e4f797a06a7aa2cu);
  EXPECT_EQ(fnv1a(resized(test_image(29, 500, 3), 29, 224)), 0x0d8adfbea84def07u);
  EXPECT_EQ(fnv1a(resized(test_image(500, 31, 1), 224, 31)), 0xd14b5f3a06f91c57u);
}

TEST(Resizer, OneSizeIsACopy) {
  for (const int64_t channels : {1, 3}) {
    const Image image = test_image(9, 11, channels);
    EXPECT_EQ(resized(image, 9, 11), std::vector<int>(image.pixels.begin(), image.pixels.end()));
  }
}

TEST(Resizer, PlainColoursStayAtAnySize) {
  for (const int64_t channels : {1, 3}) {
    for (const int value : {0, 1, 254, 255}) {
      Image image = test_image(23, 17, channels);
      std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(value));
      for (const int64_t side : {1, 2, 5, 16, 40}) {
        EXPECT_THAT(resized(image, side, side + 3), testing::Each(value)) << side;
      }
    }
  }
}

// Channels do not mix, and rows and columns are treated alike but for the rounding between.
TEST(Resizer, ColoursAreThreeGreyImages) {
  for (const auto& [height, width] : {std::pair{13, 21}, {64, 5}, {1, 1}, {8, 9}}) {
    const Image image = test_image(height, width, 3);
    const std::vector<int> together = resized(image, 11, 12);
    for (size_t c = 0; c < 3; ++c) {
      Image grey = test_image(height, width, 1);
      for (size_t i = 0; i < grey.pixels.size(); ++i) grey.pixels[i] = image.pixels[3 * i + c];
      const std::vector<int> alone = resized(grey, 11, 12);
      for (size_t i = 0; i < alone.size(); ++i) ASSERT_EQ(together[3 * i + c], alone[i]);
    }
  }
}

// Within the rounding of two passes of the weighted mean over all pixels, computed in double.
TEST(Resizer, IsTheMeanUnderATriangle) {
  const auto weights = [](int64_t from, int64_t to, int64_t place) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    const double reach = std::max(scale, 1.0);
    std::vector<double> all;
    double sum = 0;
    for (int64_t x = 0; x < from; ++x) {
      const double distance =
          std::abs(static_cast<double>(x) + 0.5 - (static_cast<double>(place) + 0.5) * scale);
      all.push_back(std::max(0.0, 1 - distance / reach));
      sum += all.back();
    }
    for (double& weight : all) weight /= sum;
    return all;
  };
  for (const auto& [from, to] : {std::pair{9, 4}, {4, 9}, {30, 7}, {5, 1}, {1, 6}}) {
    const Image image = test_image(from, from + 1, 1);
    const std::vector<int> found = resized(image, to, to + 2);
    for (int64_t y = 0; y < to; ++y) {
      for (int64_t x = 0; x < to + 2; ++x) {
        const auto rows = weights(from, to, y), columns = weights(from + 1, to + 2, x);
        double mean = 0;
        for (size_t i = 0; i < rows.size(); ++i) {
          for (size_t k = 0; k < columns.size(); ++k) {
            mean += rows[i] * columns[k] * image.pixels[i * columns.size() + k];
          }
        }
        ASSERT_NEAR(found[static_cast<size_t>(y * (to + 2) + x)], mean, 1.001) << from << ' ' << to;
      }
    }
  }
}

TEST(Resizer, MayBeUsedAgain) {
  Resizer resizer;
  Image to;
  for (const auto& [height, width, channels] :
       {std::tuple{40, 50, 3}, {5, 4, 1}, {50, 40, 3}, {3, 90, 1}}) {
    const Image image = test_image(height, width, channels);
    resizer.resize(image, 12, 10, to);
    EXPECT_EQ(std::vector<int>(to.pixels.begin(), to.pixels.begin() + 120 * channels),
              resized(image, 12, 10));
  }
}

TEST(Resizer, ImpossibleRequestsAreBugs) {
  EXPECT_THROW(resized(test_image(4, 4, 2), 2, 2), Error);
  EXPECT_THROW(resized(test_image(0, 4, 1), 2, 2), Error);
  EXPECT_THROW(resized(test_image(4, 4, 1), 0, 2), Error);
}

}  // namespace
}  // namespace largo::data
