#include "trainer/data/batch_maker.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/batch_test_util.h"

namespace largo::data {
namespace {

TEST(BatchMaker, WritesEverySampleWhereItBelongs) {
  for (const int64_t channels : {1, 3}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const FakeDataset dataset = images(channels);
      Transform plain = transform(channels, dtype);
      plain.augment = {};
      const Batch batch = BatchMaker(dataset, plain).make(of({{0, 7}, {1, 42}, {0, 0}}));
      ASSERT_EQ(batch.images.sizes(), (at::IntArrayRef{3, channels, 4, 5}));
      EXPECT_EQ(batch.images.scalar_type(), dtype);
      EXPECT_EQ(batch.labels.scalar_type(), at::kLong);
      for (int64_t n = 0; n < 3; ++n) {
        const int64_t index = batch.keys.at(static_cast<size_t>(n)).index;
        EXPECT_EQ(batch.labels[n].item<int64_t>(), index % 10);
        for (int64_t c = 0; c < channels; ++c) {
          for (int64_t place = 0; place < 20; ++place) {
            const int64_t pixel = (index * 4 + place * channels + c) & 0xff;
            const double expected = (static_cast<double>(pixel) / 255 - 0.4) / 0.3;
            const double found = batch.images[n][c][place / 5][place % 5].item<double>();
            ASSERT_EQ(found, dtype == at::kFloat ? static_cast<float>(expected) : expected);
          }
        }
      }
    }
  }
}

// Strides of {1, 3} channels; for one channel is_contiguous(ChannelsLast) would not tell.
TEST(BatchMaker, ImagesAreChannelsLast) {
  for (const int64_t channels : {1, 3}) {
    const FakeDataset dataset = images(channels);
    const Batch batch = BatchMaker(dataset, transform(channels)).make(of({{0, 1}, {0, 2}}));
    EXPECT_EQ(batch.images.strides(), (at::IntArrayRef{20 * channels, 1, 5 * channels, channels}));
  }
}

TEST(BatchMaker, ASampleDoesNotDependOnItsBatch) {
  const FakeDataset dataset = images(3);
  const BatchMaker maker(dataset, transform(3));
  const std::vector<SampleKey> keys = Sampler(kSeed, kSamples).keys(20, 40);
  const Batch whole = maker.make(of(keys));
  for (size_t n = 0; n < keys.size(); ++n) {
    const Batch alone = maker.make(of({keys[n]}));
    ASSERT_TRUE(at::equal(alone.images[0], whole.images[static_cast<int64_t>(n)])) << n;
  }
  const Batch next_epoch = maker.make(of({{keys[0].epoch + 1, keys[0].index}}));
  EXPECT_FALSE(at::equal(next_epoch.images[0], whole.images[0]));
}

TEST(BatchMaker, AnEmptyBatchKeepsItsShape) {
  const FakeDataset dataset = images(3);
  const Batch batch = BatchMaker(dataset, transform(3)).make({});
  EXPECT_EQ(batch.images.sizes(), (at::IntArrayRef{0, 3, 4, 5}));
  EXPECT_EQ(batch.labels.sizes(), (at::IntArrayRef{0}));
  EXPECT_TRUE(batch.keys.empty());
}

TEST(BatchMaker, WrongUseIsABug) {
  const FakeDataset dataset = images(3);
  EXPECT_THROW(BatchMaker(dataset, transform(1)), Error);
  EXPECT_THROW(BatchMaker(dataset, transform(3, at::kHalf)), Error);
  EXPECT_THROW(BatchMaker(dataset, transform(3)).make(of({{0, kSamples}})), Error);
  EXPECT_THROW(BatchMaker(dataset, transform(3)).make(of({{0, -1}})), Error);
}

TEST(BatchMaker, MixesEveryImageWithTheNextOne) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const FakeDataset dataset = images(3);
    const BatchMaker maker(dataset, transform(3, dtype));
    const std::vector<SampleKey> keys = Sampler(kSeed, kSamples).keys(20, 40);
    const Batch plain = maker.make(of(keys));
    EXPECT_FALSE(plain.partner_labels.defined());
    EXPECT_EQ(plain.mix, 1);
    const Batch mixed = maker.make(
        {.keys = {keys.begin(), keys.end() - 1}, .mix = 0.75, .after_last = keys.back()});
    EXPECT_EQ(mixed.mix, 0.75);
    ASSERT_EQ(mixed.images.sizes(), (at::IntArrayRef{39, 3, 4, 5}));
    EXPECT_EQ(mixed.images.strides(), (at::IntArrayRef{60, 1, 15, 3}));
    EXPECT_TRUE(at::equal(mixed.labels, plain.labels.slice(0, 0, 39)));
    EXPECT_TRUE(at::equal(mixed.partner_labels, plain.labels.slice(0, 1, 40)));
    EXPECT_TRUE(at::equal(
        mixed.images, plain.images.slice(0, 0, 39) * 0.75 + plain.images.slice(0, 1, 40) * 0.25));
  }
}

// Two ranks that share a batch have together the images of one.
TEST(BatchMaker, MixupDoesNotDependOnHowTheBatchIsSplit) {
  const FakeDataset dataset = images(3);
  const BatchMaker maker(dataset, transform(3));
  const std::vector<SampleKey> keys = Sampler(kSeed, kSamples).keys(0, 20);
  const Batch whole = maker.make({.keys = keys, .mix = 0.7, .after_last = keys.front()});
  const Batch low =
      maker.make({.keys = {keys.begin(), keys.begin() + 13}, .mix = 0.7, .after_last = keys[13]});
  const Batch high =
      maker.make({.keys = {keys.begin() + 13, keys.end()}, .mix = 0.7, .after_last = keys.front()});
  EXPECT_TRUE(at::equal(at::cat({low.images, high.images}), whole.images));
  EXPECT_TRUE(at::equal(at::cat({low.partner_labels, high.partner_labels}), whole.partner_labels));
}

TEST(BatchMaker, AnEmptyBatchMayBeMixed) {
  const FakeDataset dataset = images(3);
  const Batch batch = BatchMaker(dataset, transform(3)).make({.keys = {}, .mix = 0.6});
  EXPECT_EQ(batch.images.sizes(), (at::IntArrayRef{0, 3, 4, 5}));
  EXPECT_EQ(batch.partner_labels.sizes(), (at::IntArrayRef{0}));
}

TEST(BatchMaker, MixupNeedsTheSampleAfterTheLast) {
  const FakeDataset dataset = images(3);
  EXPECT_THROW(BatchMaker(dataset, transform(3)).make({.keys = {{0, 1}}, .mix = 0.6}), Error);
}

// The table of normalized values, applied to a raw batch, gives the other batch.
TEST(BatchMaker, ARawBatchHoldsPixels) {
  const FakeDataset dataset = images(3);
  for (const int64_t count : {0, 20}) {
    const BatchRequest request = stream(count)(0);
    const Batch raw = BatchMaker(dataset, transform(3, at::kByte)).make(request);
    const Batch batch = BatchMaker(dataset, transform(3, at::kDouble)).make(request);
    ASSERT_EQ(raw.images.scalar_type(), at::kByte);
    EXPECT_EQ(raw.images.strides(), batch.images.strides());
    EXPECT_TRUE(at::equal((raw.images.to(at::kDouble) / 255 - 0.4) / 0.3, batch.images));
    EXPECT_TRUE(at::equal(raw.labels, batch.labels));
    EXPECT_EQ(raw.keys, batch.keys);
  }
}

TEST(BatchMaker, ARawBatchThatIsToBeMixedHasOneMore) {
  const FakeDataset dataset = images(3);
  const BatchMaker maker(dataset, transform(3, at::kByte));
  const std::vector<SampleKey> keys = Sampler(kSeed, kSamples).keys(20, 40);
  const Batch plain = maker.make(of(keys));
  const Batch mixed =
      maker.make({.keys = {keys.begin(), keys.end() - 1}, .mix = 0.75, .after_last = keys.back()});
  EXPECT_TRUE(at::equal(mixed.images, plain.images));
  EXPECT_TRUE(at::equal(mixed.labels, plain.labels));
  EXPECT_FALSE(mixed.partner_labels.defined());
  EXPECT_EQ(mixed.mix, 0.75);
  EXPECT_EQ(mixed.keys.size(), 39u);
  const Batch empty = maker.make({.keys = {}, .mix = 0.6});
  EXPECT_EQ(empty.images.sizes(), (at::IntArrayRef{0, 3, 4, 5}));
}

// 50 samples in one chunk, or as many chunks as threads want.
TEST(BatchMaker, ChunksAreOfSixteenSamplesAtMostAndServeAllThreads) {
  const FakeDataset dataset = images(1);
  const BatchMaker maker(dataset, transform(1));
  BatchDraft draft;
  const auto chunks = [&](int64_t batch, int64_t threads) {
    return maker.begin(stream(batch)(0), threads, draft);
  };
  EXPECT_EQ(chunks(0, 4), 0);
  EXPECT_EQ(chunks(1, 4), 1);
  EXPECT_EQ(chunks(8, 1), 1);
  EXPECT_EQ(chunks(8, 2), 2);
  EXPECT_EQ(chunks(8, 100), 8);
  EXPECT_EQ(chunks(33, 1), 3);
  EXPECT_EQ(chunks(128, 2), 8);
}

TEST(BatchMaker, TakesTheFramingOfTheTransform) {
  FakeDataset dataset(kSamples, {3, 9, 7});
  Transform small = transform(3);
  small.framing = {.cut = Cut::kRandom, .height = 4, .width = 4};
  const Batch batch = BatchMaker(dataset, small).make(of({{2, 7}}));
  EXPECT_EQ(batch.images.sizes(), (at::IntArrayRef{1, 3, 4, 4}));
  EXPECT_EQ(dataset.framings().at(0).cut, Cut::kRandom);
  EXPECT_EQ(dataset.framings().at(0).seed, kSeed);
  EXPECT_EQ(dataset.framings().at(0).key, (SampleKey{2, 7}));
}

TEST(BatchMaker, CountsItsTime) {
  FakeDataset dataset(kSamples, {3, 90, 70});
  Transform small = transform(3);
  const BatchMaker maker(dataset, small);
  EXPECT_EQ(maker.times().busy_s(), 0);
  maker.make(of({{2, 7}, {2, 8}}));
  const WorkTimes times = maker.times();
  for (const double part : {times.read_s, times.resize_s, times.augment_s, times.normalize_s}) {
    EXPECT_GT(part, 0);
    EXPECT_LT(part, 10);
  }
  EXPECT_EQ(times.busy_s(), times.read_s + times.resize_s + times.augment_s + times.normalize_s);
}

}  // namespace
}  // namespace largo::data
