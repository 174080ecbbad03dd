#include "trainer/data/idx_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/data_test_util.h"
#include "tests/data/idx_bytes.h"
#include "trainer/data/catalog.h"

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
    const std::string described = failure(code, [&] { builtin().describe(options, ""); });
    std::string loaded = failure(code, [&] { builtin().load(options, "", 1); });
    EXPECT_EQ(described, loaded);
    return loaded;
  }

  TempFolder folder;
  DataOptions options;
};

TEST_F(IdxData, LoadsImagesAndLabels) {
  const Datasets sets = builtin().load(options, "", 1);
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
  const DataInfo info = builtin().describe(options, "");
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
  EXPECT_EQ(builtin().load(options, "", 1).train->label(2), 1);
}

TEST_F(IdxData, ThePathMayBeTheStartOfTheNames) {
  for (const char* name : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                           "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}) {
    rename(name, std::string("emnist-letters-") + name);
  }
  options.path = (folder.path() / "emnist-letters").string();
  EXPECT_EQ(builtin().load(options, "", 1).train->size(), 3);
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
  EXPECT_EQ(builtin().describe(options, "").train_samples, 2);
  const Datasets sets = builtin().load(options, "", 1);
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
  const Datasets sets = builtin().load(options, "", 1);
  // 'a' … 'f' are 97 … 102.
  EXPECT_THAT(sets.mean, ElementsAre(testing::DoubleEq(99.5 / 255)));
  EXPECT_THAT(sets.std, ElementsAre(testing::DoubleEq(std::sqrt(35.0 / 12) / 255)));
}

TEST_F(IdxData, GivenMeanAndStdReplaceTheComputed) {
  options.mean = {0.25};
  options.std = {0.5};
  const Datasets sets = builtin().load(options, "", 1);
  EXPECT_THAT(sets.mean, ElementsAre(0.25));
  EXPECT_THAT(sets.std, ElementsAre(0.5));
  options.mean = {0.25, 0.25, 0.25};
  options.std = {1, 1, 1};
  EXPECT_THAT(load_failure(ExitCode::kConfig),
              AllOf(HasSubstr("data.mean: has 3 values"), HasSubstr("1 channel")));
}

TEST_F(IdxData, AConstantTrainingSetNeedsAGivenStd) {
  write("train-images-idx3-ubyte", idx_bytes({3, 2, 3}, std::string(18, 7)));
  EXPECT_THAT(failure(ExitCode::kBadData, [&] { builtin().load(options, "", 1); }),
              HasSubstr("give data.mean and data.std"));
  options.mean = {0};
  options.std = {1};
  EXPECT_EQ(builtin().load(options, "", 1).train->size(), 3);
}

TEST(MissingData, TheFashionMnistFolderComesWithAPackage) {
  if (std::filesystem::exists(kFashionMnist)) GTEST_SKIP() << "it is installed here";
  DataOptions options;
  options.kind = "idx";
  options.path = kFashionMnist;
  EXPECT_THAT(failure(ExitCode::kInputMissing, [&] { builtin().load(options, "", 1); }),
              HasSubstr("install the Debian package dataset-fashion-mnist, or give data.path"));
}

TEST(FashionMnist, HasItsKnownMeanAndStd) {
  if (!std::filesystem::exists(kFashionMnist)) GTEST_SKIP() << kFashionMnist << " is not there";
  DataOptions options;
  options.kind = "idx";
  options.path = kFashionMnist;
  const Datasets sets = builtin().load(options, "", 1);
  EXPECT_EQ(sets.train->size(), 60'000);
  EXPECT_EQ(sets.val->size(), 10'000);
  EXPECT_EQ(sets.train->classes(), 10);
  EXPECT_EQ(sets.train->shape(), (SampleShape{1, 28, 28}));
  EXPECT_THAT(sets.mean, ElementsAre(testing::DoubleNear(0.2860, 5e-5)));
  EXPECT_THAT(sets.std, ElementsAre(testing::DoubleNear(0.3530, 5e-5)));
}

}  // namespace
}  // namespace largo::data
