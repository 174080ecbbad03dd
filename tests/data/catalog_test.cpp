#include "trainer/data/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/data_test_util.h"
#include "trainer/data/statistics.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

DataCatalog builtin() {
  DataCatalog catalog;
  add_builtin_data(catalog);
  return catalog;
}

// `channels` channels; channel c of sample i is i · (c + 1) everywhere.
class Ramp final : public Dataset {
 public:
  explicit Ramp(int64_t samples) : samples_(samples) {}
  int64_t size() const override { return samples_; }
  SampleShape shape() const override { return {3, 2, 2}; }
  int64_t classes() const override { return 2; }
  int64_t label(int64_t) const override { return 0; }
  void read(int64_t index, const Framing&, Image& image) const override {
    image.resize(2, 2, 3);
    for (size_t at = 0; at < 12; ++at) {
      image.pixels[at] = static_cast<uint8_t>(index * static_cast<int64_t>(at % 3 + 1));
    }
  }

 private:
  int64_t samples_;
};

DataKind ramp_kind() {
  return {.describe =
              [](const DataOptions&, const std::string&) {
                return DataInfo{9, 4, {3, 2, 2}, 2};
              },
          .load =
              [](const DataOptions&, const std::string&, uint64_t) {
                Datasets sets;
                sets.train = std::make_unique<Ramp>(9);
                sets.val = std::make_unique<Ramp>(4);
                return sets;
              }};
}

TEST(ChannelStatistics, AreOfEachChannel) {
  const ChannelStatistics statistics = channel_statistics(Ramp(5));
  for (const size_t c : {0, 1, 2}) {
    const double factor = static_cast<double>(c + 1) / 255;
    EXPECT_DOUBLE_EQ(statistics.mean[c], 2 * factor);
    EXPECT_DOUBLE_EQ(statistics.std[c], std::sqrt(2.0) * factor);
  }
  EXPECT_THAT(failure(ExitCode::kBadData, [] { channel_statistics(Ramp(1)); }),
              HasSubstr("channel 0 is 0 in every pixel of the 1 training samples"));
}

TEST(DataCatalog, UnknownKindsNameTheKnownAndTheNearest) {
  const DataCatalog catalog = builtin();
  EXPECT_THAT(catalog.kinds(),
              ElementsAre("cifar10", "cifar100", "idx", "image_folder", "synthetic", "tar_shards"));
  DataOptions options;
  options.kind = "synthetic";
  EXPECT_TRUE(catalog.check(options).empty());
  options.kind = "sinthetic";
  const auto problems = catalog.check(options);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].key, "data.kind");
  EXPECT_EQ(problems[0].message,
            "\"sinthetic\" is not known; legal: cifar10 | cifar100 | idx | image_folder | "
            "synthetic | tar_shards; did you mean "
            "\"synthetic\"?");
  EXPECT_THAT(failure(ExitCode::kConfig, [&] { catalog.describe(options, ""); }),
              HasSubstr("data.kind: \"sinthetic\" is not known"));
  EXPECT_THAT(failure(ExitCode::kConfig, [&] { catalog.load(options, "", 1); }),
              HasSubstr("did you mean"));
}

TEST(DataCatalog, HoldsOutTheSameSamplesForEverySeed) {
  DataCatalog catalog;
  catalog.add("ramp", ramp_kind());
  DataOptions options;
  options.kind = "ramp";
  options.val_fraction = 0.3;
  const auto samples = [](const Dataset& set) {
    std::vector<int> all;
    for (int64_t i = 0; i < set.size(); ++i) all.push_back(pixels(set, i)[0]);
    return all;
  };
  const Datasets sets = catalog.load(options, "", 1), others = catalog.load(options, "", 2);
  const DataInfo info = catalog.describe(options, "");
  EXPECT_EQ(info.train_samples, 6);
  EXPECT_EQ(info.val_samples, 3);
  std::vector<int> train = samples(*sets.train), val = samples(*sets.val);
  EXPECT_EQ(train, samples(*others.train));
  EXPECT_EQ(val, samples(*others.val));
  EXPECT_TRUE(std::is_sorted(train.begin(), train.end()));
  EXPECT_TRUE(std::is_sorted(val.begin(), val.end()));
  EXPECT_NE(val, (std::vector<int>{0, 1, 2}));
  train.insert(train.end(), val.begin(), val.end());
  EXPECT_THAT(train, testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));

  options.limit = 2;
  EXPECT_EQ(catalog.describe(options, "").train_samples, 2);
  EXPECT_EQ(catalog.load(options, "", 1).train->size(), 2);
  options.val_fraction = 0.01;
  for (const auto& action : {std::function<void()>([&] { catalog.describe(options, ""); }),
                             std::function<void()>([&] { catalog.load(options, "", 1); })}) {
    EXPECT_THAT(failure(ExitCode::kConfig, action),
                AllOf(HasSubstr("data.val_fraction"), HasSubstr("of 9 samples holds out 0")));
  }
}

TEST(DataCatalog, AsksForAValidationPart) {
  DataCatalog catalog;
  DataKind kind = ramp_kind();
  kind.describe = [](const DataOptions&, const std::string&) {
    return DataInfo{9, {}, {3, 2, 2}, 2};
  };
  kind.load = [](const DataOptions&, const std::string&, uint64_t) {
    Datasets sets;
    sets.train = std::make_unique<Ramp>(9);
    return sets;
  };
  catalog.add("ramp", kind);
  DataOptions options;
  options.kind = "ramp";
  options.path = "/a/b";
  for (const auto& action : {std::function<void()>([&] { catalog.describe(options, ""); }),
                             std::function<void()>([&] { catalog.load(options, "", 1); })}) {
    EXPECT_THAT(failure(ExitCode::kConfig, action),
                AllOf(HasSubstr("/a/b has no validation part"), HasSubstr("data.val_path")));
  }
  options.val_fraction = 0.3;
  EXPECT_EQ(catalog.load(options, "", 1).val->size(), 3);
}

TEST(DataCatalog, SamplesHaveTheSizeAskedFor) {
  DataCatalog catalog;
  catalog.add("ramp", ramp_kind());
  DataOptions options;
  options.kind = "ramp";
  EXPECT_EQ(catalog.describe(options, "").shape, (SampleShape{3, 2, 2}));
  options.image_size = 7;
  EXPECT_EQ(catalog.describe(options, "").shape, (SampleShape{3, 7, 7}));
  options.image_size = 0;
  options.augment.resized_crop = 6;
  EXPECT_EQ(catalog.describe(options, "").shape, (SampleShape{3, 6, 6}));
  options.augment.cutout = 7;
  EXPECT_THAT(failure(ExitCode::kConfig, [&] { catalog.describe(options, ""); }),
              HasSubstr("data.augment.cutout"));
}

TEST(DataCatalog, ImagesOfSeveralSizesNeedOne) {
  DataCatalog catalog;
  DataKind kind = ramp_kind();
  kind.describe = [](const DataOptions&, const std::string&) {
    return DataInfo{9, 4, {3, 0, 0}, 2};
  };
  catalog.add("ramp", kind);
  DataOptions options;
  options.kind = "ramp";
  EXPECT_THAT(failure(ExitCode::kConfig, [&] { catalog.describe(options, ""); }),
              AllOf(HasSubstr("data.image_size"), HasSubstr("differ in size")));
}

TEST(Framings, FollowTheOptions) {
  const SampleShape shape = {3, 6, 6};
  DataOptions options;
  for (const Framing& framing : {train_framing(options, shape), eval_framing(options, shape)}) {
    EXPECT_EQ(framing.cut, Cut::kWhole);
    EXPECT_EQ(framing.height, 6);
    EXPECT_EQ(framing.width, 6);
  }
  options.image_size = 6;
  for (const Framing& framing : {train_framing(options, shape), eval_framing(options, shape)}) {
    EXPECT_EQ(framing.cut, Cut::kCenter);
    EXPECT_EQ(framing.share, 1);
  }
  options.augment.resized_crop = 6;
  EXPECT_EQ(train_framing(options, shape).cut, Cut::kRandom);
  EXPECT_EQ(eval_framing(options, shape).cut, Cut::kCenter);
  EXPECT_EQ(eval_framing(options, shape).share, 0.875);
}

TEST(DataCatalog, TakesKindsOfTheUsersOwn) {
  DataCatalog catalog = builtin();
  catalog.add("ramp", ramp_kind());
  DataOptions options;
  options.kind = "ramp";
  options.limit = 5;
  EXPECT_EQ(catalog.describe(options, "").train_samples, 5);
  EXPECT_DOUBLE_EQ(catalog.load(options, "", 1).mean[0], 2.0 / 255);
  EXPECT_THROW(catalog.add("ramp", {}), Error);
}

}  // namespace
}  // namespace largo::data
