#include "trainer/data/synthetic_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "tests/data/data_test_util.h"
#include "trainer/data/catalog.h"
#include "trainer/data/statistics.h"

namespace largo::data {
namespace {

DataCatalog builtin() {
  DataCatalog catalog;
  add_builtin_data(catalog);
  return catalog;
}

DataOptions synthetic() {
  DataOptions options;
  options.kind = "synthetic";
  options.shape = {3, 8, 9};
  options.classes = 7;
  return options;
}

TEST(SyntheticData, HasTheShapeAskedFor) {
  DataOptions options = synthetic();
  EXPECT_EQ(builtin().describe(options, "").train_samples, 10240);
  options.limit = 20'000;  // more than the usual: synthetic has as many as are asked for
  const DataInfo info = builtin().describe(options, "");
  const Datasets sets = builtin().load(options, "", 1);
  EXPECT_EQ(info.train_samples, 20'000);
  EXPECT_EQ(info.val_samples, 2048);
  EXPECT_EQ(info.shape, (SampleShape{3, 8, 9}));
  EXPECT_EQ(info.classes, 7);
  EXPECT_EQ(sets.train->size(), info.train_samples);
  EXPECT_EQ(sets.val->size(), info.val_samples);
  EXPECT_EQ(sets.train->shape(), info.shape);
  EXPECT_EQ(sets.train->classes(), info.classes);
  EXPECT_EQ(sets.mean.size(), 3u);
  EXPECT_EQ(sets.std.size(), 3u);
}

TEST(SyntheticData, FollowsFromSeedPartAndIndex) {
  const Datasets one = builtin().load(synthetic(), "", 1),
                 again = builtin().load(synthetic(), "", 1);
  const Datasets other = builtin().load(synthetic(), "", 2);
  EXPECT_EQ(pixels(*one.train, 12), pixels(*again.train, 12));
  EXPECT_EQ(pixels(*one.val, 12), pixels(*again.val, 12));
  EXPECT_NE(pixels(*one.train, 12), pixels(*other.train, 12));
  EXPECT_NE(pixels(*one.train, 12), pixels(*one.val, 12));
  EXPECT_NE(pixels(*one.train, 12), pixels(*one.train, 12 + 7));  // of the same class
}

TEST(SyntheticData, ReadsTheRectangleOfTheFraming) {
  const Datasets sets = builtin().load(synthetic(), "", 1);
  const std::vector<uint8_t> all = pixels(*sets.train, 4);
  const Framing framing{.cut = Cut::kRandom, .height = 2, .width = 2, .seed = 1, .key = {0, 4}};
  const Rect rect = choose_rect(framing, 8, 9);
  Image part;
  sets.train->read(4, framing, part);
  ASSERT_EQ(part.height, rect.height);
  ASSERT_EQ(part.width, rect.width);
  for (int64_t y = 0; y < rect.height; ++y) {
    for (int64_t x = 0; x < 3 * rect.width; ++x) {
      EXPECT_EQ(part.pixels[static_cast<size_t>(3 * y * rect.width + x)],
                all[static_cast<size_t>(3 * ((rect.top + y) * 9 + rect.left) + x)]);
    }
  }
}

TEST(SyntheticData, MeanAndStdAreNearTheGiven) {
  const Datasets sets = builtin().load(synthetic(), "", 1);
  const ChannelStatistics statistics = channel_statistics(*sets.train);
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(statistics.mean[c], sets.mean[c], 0.05);
    EXPECT_NEAR(statistics.std[c], sets.std[c], 0.03);
  }
}

// The mean training image of each class, taken as its prototype, recognizes validation images.
TEST(SyntheticData, CanBeLearned) {
  const Datasets sets = builtin().load(synthetic(), "", 1);
  std::vector<std::vector<double>> mean(7, std::vector<double>(3 * 8 * 9, 0));
  for (int64_t i = 0; i < 700; ++i) {
    const auto image = pixels(*sets.train, i);
    auto& of_class = mean.at(static_cast<size_t>(sets.train->label(i)));
    for (size_t at = 0; at < image.size(); ++at) of_class[at] += image[at] / 100.0;
  }
  int right = 0;
  for (int64_t i = 0; i < 700; ++i) {
    const auto image = pixels(*sets.val, i);
    std::pair<double, int64_t> nearest = {1e300, -1};
    for (int64_t label = 0; label < 7; ++label) {
      double distance = 0;
      for (size_t at = 0; at < image.size(); ++at) {
        distance += std::pow(image[at] - mean[static_cast<size_t>(label)][at], 2);
      }
      nearest = std::min(nearest, {distance, label});
    }
    right += nearest.second == sets.val->label(i);
  }
  EXPECT_GT(right, 690);
}

}  // namespace
}  // namespace largo::data
