#include "trainer/data/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/idx_bytes.h"
#include "trainer/data/statistics.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kFashionMnist = "/usr/share/datasets/fashion-mnist";

DataCatalog builtin() {
  DataCatalog catalog;
  add_builtin_data(catalog);
  return catalog;
}

std::string failure(ExitCode code, const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

std::vector<uint8_t> pixels(const Dataset& dataset, int64_t index) {
  std::vector<uint8_t> hwc(static_cast<size_t>(dataset.shape().values()));
  dataset.read(index, hwc);
  return hwc;
}

// Three training and two validation images of 2 x 3 pixels.
class IdxData : public testing::Test {
 protected:
  IdxData() {
    options.kind = "idx";
    options.path = folder.path().string();
    write("train-images-idx3-ubyte", idx_bytes({3, 2, 3}, "abcdefghijklmnopqr"));
    write("train-labels-idx1-ubyte", idx_bytes({3}, {2, 0, 1}));
    write("t10k-images-idx3-ubyte", idx_bytes({2, 2, 3}, "ABCDEFGHIJKL"));
    write("t10k-labels-idx1-ubyte", idx_bytes({2}, {4, 0}));
  }

  void write(const std::string& name, const std::string& bytes) {
    write_file(folder.path() / name, bytes);
  }
  void rename(const std::string& from, const std::string& to) {
    std::filesystem::rename(folder.path() / from, folder.path() / to);
  }
  std::string load_failure(ExitCode code) {
    const std::string described = failure(code, [&] { builtin().describe(options); });
    const std::string loaded = failure(code, [&] { builtin().load(options, 1); });
    EXPECT_EQ(described, loaded);
    return loaded;
  }

  TempFolder folder;
  DataOptions options;
};

TEST_F(IdxData, LoadsImagesAndLabels) {
  const Datasets sets = builtin().load(options, 1);
  EXPECT_EQ(sets.train->size(), 3);
  EXPECT_EQ(sets.val->size(), 2);
  EXPECT_EQ(sets.train->shape(), (SampleShape{1, 2, 3}));
  EXPECT_EQ(sets.train->classes(), 5);  // label 4 is in the validation part only
  EXPECT_EQ(sets.val->classes(), 5);
  EXPECT_THAT(pixels(*sets.train, 1), ElementsAre('g', 'h', 'i', 'j', 'k', 'l'));
  EXPECT_THAT(pixels(*sets.val, 0), ElementsAre('A', 'B', 'C', 'D', 'E', 'F'));
  EXPECT_EQ(sets.train->label(0), 2);
  EXPECT_EQ(sets.val->label(0), 4);
}

TEST_F(IdxData, DescribesWhatItLoads) {
  const DataInfo info = builtin().describe(options);
  EXPECT_EQ(info.train_samples, 3);
  EXPECT_EQ(info.val_samples, 2);
  EXPECT_EQ(info.shape, (SampleShape{1, 2, 3}));
  EXPECT_EQ(info.classes, 5);
}

TEST_F(IdxData, KnowsTheOtherNames) {
  rename("train-images-idx3-ubyte", "train-images.idx3-ubyte");
  rename("t10k-labels-idx1-ubyte", "test-labels-idx1-ubyte");
  write("train-labels-idx1-ubyte.gz", gzip(idx_bytes({3}, {2, 0, 1})));
  std::filesystem::remove(folder.path() / "train-labels-idx1-ubyte");
  EXPECT_EQ(builtin().load(options, 1).train->label(2), 1);
}

TEST_F(IdxData, ThePathMayBeTheStartOfTheNames) {
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                           "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}) {
    rename(name, std::string("emnist-letters-") + name);
  }
  options.path = (folder.path() / "emnist-letters").string();
  EXPECT_EQ(builtin().load(options, 1).train->size(), 3);
  options.path = (folder.path() / "emnist-digits").string();
  EXPECT_THAT(load_failure(ExitCode::kInputMissing),
              AllOf(HasSubstr("there is no such folder"), HasSubstr("emnist-digits")));
}

TEST_F(IdxData, SaysWhichFileIsMissing) {
  std::filesystem::remove(folder.path() / "t10k-labels-idx1-ubyte");
  EXPECT_THAT(load_failure(ExitCode::kInputMissing),
              AllOf(HasSubstr("there is no " + options.path + "/t10k-labels-idx1-ubyte or "),
                    HasSubstr("give data.path")));
}

TEST_F(IdxData, RefusesUnequalCounts) {
  write("train-labels-idx1-ubyte", idx_bytes({4}, {2, 0, 1, 1}));
  EXPECT_THAT(load_failure(ExitCode::kBadData),
              AllOf(HasSubstr("3 images"), HasSubstr("4 labels")));
}

TEST_F(IdxData, RefusesUnequalSizes) {
  write("t10k-images-idx3-ubyte", idx_bytes({2, 3, 2}, "ABCDEFGHIJKL"));
  EXPECT_THAT(load_failure(ExitCode::kBadData),
              AllOf(HasSubstr("2 x 3 pixels"), HasSubstr("3 x 2")));
}

TEST_F(IdxData, LimitTakesTheFirstTrainingSamples) {
  options.limit = 2;
  EXPECT_EQ(builtin().describe(options).train_samples, 2);
  const Datasets sets = builtin().load(options, 1);
  EXPECT_EQ(sets.train->size(), 2);
  EXPECT_EQ(sets.val->size(), 2);
  EXPECT_EQ(sets.train->classes(), 5);
  EXPECT_EQ(sets.train->label(1), 0);
  EXPECT_THAT(pixels(*sets.train, 1), ElementsAre('g', 'h', 'i', 'j', 'k', 'l'));
  options.limit = 4;
  EXPECT_THAT(load_failure(ExitCode::kConfig),
              AllOf(HasSubstr("data.limit: 4"), HasSubstr("the 3 training samples")));
}

TEST_F(IdxData, MeanAndStdAreOfTheLimitedTrainingSet) {
  options.limit = 1;
  const Datasets sets = builtin().load(options, 1);
  // 'a' … 'f' are 97 … 102.
  EXPECT_THAT(sets.mean, ElementsAre(testing::DoubleEq(99.5 / 255)));
  EXPECT_THAT(sets.std, ElementsAre(testing::DoubleEq(std::sqrt(35.0 / 12) / 255)));
}

TEST_F(IdxData, GivenMeanAndStdReplaceTheComputed) {
  options.mean = {0.25};
  options.std = {0.5};
  const Datasets sets = builtin().load(options, 1);
  EXPECT_THAT(sets.mean, ElementsAre(0.25));
  EXPECT_THAT(sets.std, ElementsAre(0.5));
  options.mean = {0.25, 0.25, 0.25};
  options.std = {1, 1, 1};
  EXPECT_THAT(load_failure(ExitCode::kConfig),
              AllOf(HasSubstr("data.mean: has 3 values"), HasSubstr("1 channel")));
}

TEST_F(IdxData, AConstantTrainingSetNeedsAGivenStd) {
  write("train-images-idx3-ubyte", idx_bytes({3, 2, 3}, std::string(18, 7)));
  EXPECT_THAT(failure(ExitCode::kBadData, [&] { builtin().load(options, 1); }),
              HasSubstr("give data.mean and data.std"));
  options.mean = {0};
  options.std = {1};
  EXPECT_EQ(builtin().load(options, 1).train->size(), 3);
}

TEST(MissingData, TheFashionMnistFolderComesWithAPackage) {
  if (std::filesystem::exists(kFashionMnist)) GTEST_SKIP() << "it is installed here";
  DataOptions options;
  options.kind = "idx";
  options.path = kFashionMnist;
  EXPECT_THAT(failure(ExitCode::kInputMissing, [&] { builtin().load(options, 1); }),
              HasSubstr("install the Debian package dataset-fashion-mnist, or give data.path"));
}

TEST(FashionMnist, HasItsKnownMeanAndStd) {
  if (!std::filesystem::exists(kFashionMnist)) GTEST_SKIP() << kFashionMnist << " is not there";
  DataOptions options;
  options.kind = "idx";
  options.path = kFashionMnist;
  const Datasets sets = builtin().load(options, 1);
  EXPECT_EQ(sets.train->size(), 60'000);
  EXPECT_EQ(sets.val->size(), 10'000);
  EXPECT_EQ(sets.train->classes(), 10);
  EXPECT_EQ(sets.train->shape(), (SampleShape{1, 28, 28}));
  EXPECT_THAT(sets.mean, ElementsAre(testing::DoubleNear(0.2860, 5e-5)));
  EXPECT_THAT(sets.std, ElementsAre(testing::DoubleNear(0.3530, 5e-5)));
}

// `channels` channels; channel c of sample i is i · (c + 1) everywhere.
class Ramp final : public Dataset {
 public:
  explicit Ramp(int64_t samples) : samples_(samples) {}
  int64_t size() const override { return samples_; }
  SampleShape shape() const override { return {3, 2, 2}; }
  int64_t classes() const override { return 2; }
  int64_t label(int64_t) const override { return 0; }
  void read(int64_t index, std::span<uint8_t> hwc) const override {
    for (size_t at = 0; at < hwc.size(); ++at) {
      hwc[at] = static_cast<uint8_t>(index * static_cast<int64_t>(at % 3 + 1));
    }
  }

 private:
  int64_t samples_;
};

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

DataOptions synthetic() {
  DataOptions options;
  options.kind = "synthetic";
  options.shape = {3, 8, 9};
  options.classes = 7;
  return options;
}

TEST(SyntheticData, HasTheShapeAskedFor) {
  DataOptions options = synthetic();
  EXPECT_EQ(builtin().describe(options).train_samples, 10240);
  options.limit = 20'000;  // more than the usual: synthetic has as many as are asked for
  const DataInfo info = builtin().describe(options);
  const Datasets sets = builtin().load(options, 1);
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
  const Datasets one = builtin().load(synthetic(), 1), again = builtin().load(synthetic(), 1);
  const Datasets other = builtin().load(synthetic(), 2);
  EXPECT_EQ(pixels(*one.train, 12), pixels(*again.train, 12));
  EXPECT_EQ(pixels(*one.val, 12), pixels(*again.val, 12));
  EXPECT_NE(pixels(*one.train, 12), pixels(*other.train, 12));
  EXPECT_NE(pixels(*one.train, 12), pixels(*one.val, 12));
  EXPECT_NE(pixels(*one.train, 12), pixels(*one.train, 12 + 7));  // of the same class
}

TEST(SyntheticData, MeanAndStdAreNearTheGiven) {
  const Datasets sets = builtin().load(synthetic(), 1);
  const ChannelStatistics statistics = channel_statistics(*sets.train);
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NEAR(statistics.mean[c], sets.mean[c], 0.05);
    EXPECT_NEAR(statistics.std[c], sets.std[c], 0.03);
  }
}

// The mean training image of each class, taken as its prototype, recognizes validation images.
TEST(SyntheticData, CanBeLearned) {
  const Datasets sets = builtin().load(synthetic(), 1);
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

TEST(DataCatalog, UnknownKindsNameTheKnownAndTheNearest) {
  const DataCatalog catalog = builtin();
  EXPECT_THAT(catalog.kinds(), ElementsAre("idx", "synthetic"));
  DataOptions options = synthetic();
  EXPECT_TRUE(catalog.check(options).empty());
  options.kind = "sinthetic";
  const auto problems = catalog.check(options);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].key, "data.kind");
  EXPECT_EQ(problems[0].message,
            "\"sinthetic\" is not known; legal: idx | synthetic; did you mean "
            "\"synthetic\"?");
  EXPECT_THAT(failure(ExitCode::kConfig, [&] { catalog.describe(options); }),
              HasSubstr("data.kind: \"sinthetic\" is not known"));
  EXPECT_THAT(failure(ExitCode::kConfig, [&] { catalog.load(options, 1); }),
              HasSubstr("did you mean"));
}

TEST(DataCatalog, TakesKindsOfTheUsersOwn) {
  DataCatalog catalog = builtin();
  catalog.add("ramp", {[](const DataOptions&) {
                         return DataInfo{9, 4, {3, 2, 2}, 2};
                       },
                       [](const DataOptions&, uint64_t) {
                         Datasets sets;
                         sets.train = std::make_unique<Ramp>(9);
                         sets.val = std::make_unique<Ramp>(4);
                         return sets;
                       }});
  DataOptions options;
  options.kind = "ramp";
  options.limit = 5;
  EXPECT_EQ(catalog.describe(options).train_samples, 5);
  EXPECT_DOUBLE_EQ(catalog.load(options, 1).mean[0], 2.0 / 255);
  EXPECT_THROW(catalog.add("ramp", {}), Error);
}

}  // namespace
}  // namespace largo::data
