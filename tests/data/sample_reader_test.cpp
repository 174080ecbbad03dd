#include "trainer/data/sample_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/fake_dataset.h"

namespace largo::data {
namespace {

using testing::HasSubstr;

constexpr uint64_t kSeed = 3;
const std::vector<double> kMean = {0.2, 0.4, 0.6};

Framing whole() { return {.cut = Cut::kWhole, .height = 4, .width = 5}; }

struct Read {
  int64_t label;
  std::vector<uint8_t> pixels;
};

Read read(const SampleReader& reader, const SampleKey& key, bool counts = true) {
  SampleReader::Scratch scratch;
  Read result;
  result.pixels.resize(static_cast<size_t>(reader.shape().values()));
  result.label = reader.read(key, counts, scratch, result.pixels.data());
  return result;
}

std::vector<uint8_t> stored(int64_t index) {
  std::vector<uint8_t> pixels;
  for (int64_t i = 0; i < 60; ++i) pixels.push_back(FakeDataset::byte(index, i));
  return pixels;
}

TEST(SampleReader, GivesThePixelsAndTheLabel) {
  const FakeDataset dataset;
  const SampleReader reader(dataset, whole(), {}, kMean, kSeed, nullptr);
  EXPECT_EQ(reader.shape(), (SampleShape{3, 4, 5}));
  const Read found = read(reader, {0, 17});
  EXPECT_EQ(found.pixels, stored(17));
  EXPECT_EQ(found.label, 7);
}

TEST(SampleReader, TellsTheDataSetWhatItIsFor) {
  const FakeDataset dataset;
  const Framing framing = {.cut = Cut::kRandom, .height = 4, .width = 5, .share = 0.5};
  read(SampleReader(dataset, framing, {}, kMean, kSeed, nullptr), {6, 17});
  const Framing asked = dataset.framings().at(0);
  EXPECT_EQ(asked.cut, Cut::kRandom);
  EXPECT_EQ(asked.height, 4);
  EXPECT_EQ(asked.width, 5);
  EXPECT_EQ(asked.share, 0.5);
  EXPECT_EQ(asked.seed, kSeed);
  EXPECT_EQ(asked.key, (SampleKey{6, 17}));
}

TEST(SampleReader, ResizesThenAugments) {
  FakeDataset dataset;
  dataset.stored = {3, 12, 8};
  const Framing framing = {.cut = Cut::kCenter, .height = 4, .width = 5};
  const AugmentOptions augment = {.pad_crop = 1, .flip = true, .cutout = 2};
  const SampleReader reader(dataset, framing, augment, kMean, kSeed, nullptr);
  for (int64_t index = 0; index < 20; ++index) {
    const SampleKey key = {2, index};
    Image image, small;
    dataset.read(index, framing, image);
    Resizer().resize(image, 4, 5, small);
    std::vector<uint8_t> expected(60);
    place(small.pixels.data(), reader.shape(), draw_placement(augment, kSeed, key),
          expected.data());
    fill(expected.data(), reader.shape(), draw_cutout(augment, kSeed, key, 4, 5),
         mean_colour(kMean));
    ASSERT_EQ(read(reader, key).pixels, expected) << index;
  }
}

TEST(SampleReader, OneScratchServesManySamples) {
  FakeDataset dataset;
  const SampleReader reader(dataset, whole(), {}, kMean, kSeed, nullptr);
  SampleReader::Scratch scratch;
  std::vector<uint8_t> pixels(60);
  for (int64_t index = 0; index < 50; ++index) {
    EXPECT_EQ(reader.read({0, index}, true, scratch, pixels.data()), index % 10);
    ASSERT_EQ(pixels, stored(index));
  }
  EXPECT_GT(scratch.times.read, 0);
  EXPECT_GT(scratch.times.augment, 0);
  EXPECT_EQ(scratch.times.resize, 0) << "nothing was resized";
}

TEST(SampleReader, BadSamplesAreErrorsUnlessSkipped) {
  FakeDataset dataset;
  dataset.broken = {25};
  const SampleReader reader(dataset, whole(), {}, kMean, kSeed, nullptr);
  try {
    read(reader, {0, 25});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    EXPECT_STREQ(error.what(), "sample 25 is broken");
  }
}

class Skipping : public testing::Test {
 protected:
  FakeDataset dataset;
  std::vector<std::string> warnings;
  SkippedSamples skipped{50, [this](const std::string& text) { warnings.push_back(text); }};
  AugmentOptions augment = {.pad_crop = 2, .flip = true};

  SampleReader reader() { return {dataset, whole(), augment, kMean, kSeed, &skipped}; }
};

TEST_F(Skipping, TheNextGoodSampleTakesThePlaceWithItsLabel) {
  augment = {};
  dataset.broken = {25, 26, 49, 0};
  EXPECT_EQ(read(reader(), {0, 24}).pixels, stored(24));
  EXPECT_EQ(skipped.total(), 0);
  for (const auto& [index, other] : {std::pair{25, 27}, {26, 27}, {49, 1}, {0, 1}}) {
    const Read found = read(reader(), {4, index});
    EXPECT_EQ(found.pixels, stored(other)) << index;
    EXPECT_EQ(found.label, other % 10) << index;
  }
  EXPECT_EQ(skipped.total(), 4);
  ASSERT_EQ(warnings.size(), 4u);
  EXPECT_THAT(warnings[0], HasSubstr("sample 25 is broken"));
  EXPECT_THAT(warnings[2], HasSubstr("sample 49 is broken"));
}

TEST_F(Skipping, FramingAndAugmentationStayThoseOfTheKey) {
  dataset.broken = {};
  const std::vector<uint8_t> alone = read(reader(), {4, 27}).pixels;
  dataset.broken = {25, 26};
  // The placement of (4, 25), on the pixels of 27.
  std::vector<uint8_t> expected(60);
  const std::vector<uint8_t> pixels = stored(27);
  place(pixels.data(), {3, 4, 5}, draw_placement(augment, kSeed, {4, 25}), expected.data());
  ASSERT_NE(expected, alone) << "choose another seed";
  EXPECT_EQ(read(reader(), {4, 25}).pixels, expected);
  EXPECT_EQ(dataset.framings().back().key, (SampleKey{4, 25}));
}

TEST_F(Skipping, PartnersOfMixupAreNotCounted) {
  dataset.broken = {25};
  read(reader(), {0, 25}, /*counts=*/false);
  EXPECT_EQ(skipped.total(), 0);
  EXPECT_TRUE(warnings.empty());
}

TEST_F(Skipping, OtherErrorsPass) {
  dataset.broken = {25};
  dataset.broken_code = ExitCode::kIo;
  EXPECT_THROW(read(reader(), {0, 25}), Error);
  EXPECT_EQ(dataset.reads, 1);
}

TEST_F(Skipping, EndsAfterAHundredBadSamples) {
  dataset.samples = 300;
  for (int64_t index = 100; index < 201; ++index) dataset.broken.insert(index);
  augment = {};
  EXPECT_EQ(read(reader(), {0, 101}).pixels, stored(201));
  try {
    read(reader(), {0, 100});
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    EXPECT_THAT(error.what(), HasSubstr("sample 100 is broken; nor can the 100 samples after it"));
  }
  dataset.samples = 3;
  dataset.broken = {0, 1, 2};
  EXPECT_THROW(read(reader(), {0, 1}), Error);
}

TEST(SampleReader, WrongUseIsABug) {
  const FakeDataset dataset;
  const std::vector<double> one = {0.5};
  EXPECT_THROW(SampleReader(dataset, {}, {}, kMean, kSeed, nullptr), Error);
  EXPECT_THROW(SampleReader(dataset, whole(), {}, one, kSeed, nullptr), Error);
  const SampleReader reader(dataset, whole(), {}, kMean, kSeed, nullptr);
  EXPECT_THROW(read(reader, {0, 50}), Error);
  EXPECT_THROW(read(reader, {0, -1}), Error);
}

}  // namespace
}  // namespace largo::data
