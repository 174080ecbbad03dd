#include "trainer/data/loader.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/fake_dataset.h"
#include "trainer/data/sampler.h"

namespace largo::data {
namespace {

constexpr int64_t kSamples = 50;
constexpr uint64_t kSeed = 3;

FakeDataset images(int64_t channels) { return FakeDataset(kSamples, {channels, 4, 5}); }

Transform transform(int64_t channels, at::ScalarType dtype = at::kFloat) {
  Transform made;
  made.mean = std::vector<double>(static_cast<size_t>(channels), 0.4);
  made.std = std::vector<double>(static_cast<size_t>(channels), 0.3);
  made.dtype = dtype;
  made.framing = {.cut = Cut::kWhole, .height = 4, .width = 5};
  made.augment = {.pad_crop = 2, .flip = true};
  made.seed = kSeed;
  return made;
}

// Batches of `batch` consecutive positions of the sample stream; mixed where mix < 1.
RequestOf stream(int64_t batch, double mix = 1) {
  return [sampler = std::make_shared<Sampler>(kSeed, kSamples), batch, mix](int64_t number) {
    return BatchRequest{.keys = sampler->keys(number * batch, batch),
                        .mix = mix,
                        .after_last = sampler->key((number + 1) * batch)};
  };
}

RequestOf in_order(int64_t batch) { return consecutive_samples(0, kSamples, batch); }

BatchRequest of(std::vector<SampleKey> keys) { return {.keys = std::move(keys)}; }

bool equal(const Batch& a, const Batch& b) {
  return a.keys == b.keys && a.mix == b.mix && at::equal(a.labels, b.labels) &&
         at::equal(a.images, b.images) &&
         a.partner_labels.defined() == b.partner_labels.defined() &&
         (!a.partner_labels.defined() || at::equal(a.partner_labels, b.partner_labels));
}

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

TEST(Loader, HandsOutTheSameBitsForAnyNumberOfWorkers) {
  FakeDataset dataset = images(3);
  dataset.broken = {13, 14, 40};
  const BatchMaker maker(dataset, transform(3), /*skipped=*/nullptr);
  for (const double mix : {1.0, 0.8}) {
    std::vector<Batch> expected;
    for (const int64_t workers : {0, 1, 2, 7}) {
      SkippedSamples skipped(kSamples, [](const std::string&) {});
      Loader loader(dataset, transform(3), workers, stream(40, mix), 2, 30, &skipped);
      for (int64_t number = 2; number < 30; ++number) {
        const Batch batch = loader.next();
        if (workers == 0) expected.push_back(batch);
        ASSERT_TRUE(equal(batch, expected[static_cast<size_t>(number - 2)]))
            << workers << ' ' << number;
      }
      EXPECT_THROW(loader.next(), Error);
      // Positions 80 … 1199 hold every sample 22 times, and 20 samples once more.
      EXPECT_NEAR(static_cast<double>(skipped.total()), 3 * 22.4, 1.7);
    }
  }
}

TEST(Loader, MakesWhatTheMakerMakes) {
  const FakeDataset dataset = images(3);
  const BatchMaker maker(dataset, transform(3));
  Loader loader(dataset, transform(3), 2, stream(40, 0.8), 2, 30);
  for (int64_t number = 2; number < 30; ++number) {
    ASSERT_TRUE(equal(loader.next(), maker.make(stream(40, 0.8)(number)))) << number;
  }
  EXPECT_GT(loader.times().busy_s(), 0);
}

TEST(Loader, KeysStayThoseThatWereAskedFor) {
  FakeDataset dataset = images(1);
  dataset.broken = {25};
  SkippedSamples skipped(kSamples, [](const std::string&) {});
  Loader loader(dataset, transform(1), 1, in_order(10), 2, 5, &skipped);
  const Batch batch = loader.next();
  EXPECT_EQ(batch.keys.at(5), (SampleKey{0, 25}));
  EXPECT_EQ(batch.labels[5].item<int64_t>(), 6) << "the label of 26";
  EXPECT_EQ(skipped.count(0), 1);
}

TEST(Loader, PartnersOfMixupAreNotCountedTwice) {
  FakeDataset dataset = images(1);
  dataset.broken = {10};
  SkippedSamples skipped(kSamples, [](const std::string&) {});
  const auto request_of = [](int64_t number) {
    BatchRequest request = in_order(10)(number);
    request.mix = 0.9;
    request.after_last = SampleKey{0, 10 * number + 10};
    return request;
  };
  Loader loader(dataset, transform(1), 0, request_of, 0, 2, &skipped);
  loader.next();
  EXPECT_EQ(skipped.total(), 0) << "sample 10 was read as the partner of 9";
  loader.next();
  EXPECT_EQ(skipped.total(), 1);
}

TEST(Loader, AsksForKeysInOrderAndOneAtATime) {
  const FakeDataset dataset = images(1);
  std::vector<int64_t> asked;
  std::atomic<int> inside = 0;
  {
    Loader loader(
        dataset, transform(1), 4,
        [&](int64_t number) {
          EXPECT_EQ(++inside, 1);
          asked.push_back(number);
          --inside;
          return of({{0, number % kSamples}});
        },
        0, 200);
    for (int i = 0; i < 200; ++i) loader.next();
  }
  ASSERT_EQ(asked.size(), 200u);
  for (int64_t i = 0; i < 200; ++i) EXPECT_EQ(asked[static_cast<size_t>(i)], i);
}

TEST(Loader, EmptyBatchesAreLegal) {
  const FakeDataset dataset = images(1);
  for (const int64_t workers : {0, 2}) {
    Loader loader(dataset, transform(1), workers, in_order(20), 0, 5);
    std::vector<int64_t> sizes;
    for (int i = 0; i < 5; ++i) sizes.push_back(loader.next().labels.size(0));
    EXPECT_THAT(sizes, testing::ElementsAre(20, 20, 10, 0, 0)) << "50 samples";
  }
}

TEST(Loader, AnEmptyRangeOfBatchesIsLegal) {
  const FakeDataset dataset = images(1);
  for (const int64_t workers : {0, 2}) {
    Loader loader(dataset, transform(1), workers, in_order(20), 3, 3);
    EXPECT_THROW(loader.next(), Error);
  }
}

TEST(Loader, AnErrorComesWithItsBatch) {
  for (const int64_t workers : {0, 1, 3}) {
    FakeDataset dataset = images(1);
    dataset.broken = {25};
    Loader loader(dataset, transform(1), workers, in_order(10), 0, 5);
    EXPECT_EQ(loader.next().keys.at(0).index, 0);
    EXPECT_EQ(loader.next().keys.at(0).index, 10);
    for (int attempt = 0; attempt < 2; ++attempt) {
      try {
        loader.next();
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBadData);
        EXPECT_STREQ(error.what(), "sample 25 is broken");
      }
    }
  }
}

TEST(Loader, ErrorsOfKeysOfArriveToo) {
  const FakeDataset dataset = images(1);
  for (const int64_t workers : {0, 2}) {
    Loader loader(
        dataset, transform(1), workers,
        [](int64_t number) {
          if (number == 1) throw std::runtime_error("no keys");
          return of({{0, 0}});
        },
        0, 5);
    loader.next();
    EXPECT_THROW(loader.next(), std::runtime_error);
  }
}

TEST(Loader, WorkersStayWithinTheirBound) {
  const FakeDataset dataset = images(1);
  std::atomic<int64_t> asked = 0;
  Loader loader(
      dataset, transform(1), 2,
      [&](int64_t number) {
        asked = number + 1;
        return of({{0, 0}});
      },
      0, 1000);
  for (int64_t handed = 1; handed <= 100; ++handed) {
    loader.next();
    EXPECT_LE(asked, handed + Loader::kAhead);
  }
}

TEST(Loader, MayBeDestroyedAtAnyTime) {
  const FakeDataset dataset = images(3);
  for (int taken = 0; taken < 40; ++taken) {
    Loader loader(dataset, transform(3), 3, stream(16), 0, 1000);
    for (int i = 0; i < taken % 8; ++i) loader.next();
  }
  EXPECT_LT(dataset.reads, 40 * 16 * (7 + Loader::kAhead));
}

TEST(Loader, BatchesOutliveIt) {
  const FakeDataset dataset = images(3);
  auto loader = std::make_unique<Loader>(dataset, transform(3), 2, stream(16), 0, 10);
  const Batch batch = loader->next();
  loader.reset();
  EXPECT_TRUE(equal(batch, BatchMaker(dataset, transform(3)).make(stream(16)(0))));
}

TEST(ConsecutiveSamples, CoverARangeOnce) {
  const RequestOf request_of = consecutive_samples(7, 10, 4);
  std::vector<int64_t> indices;
  for (int64_t number = 0; number < 5; ++number) {
    EXPECT_EQ(request_of(number).mix, 1);
    for (const SampleKey& key : request_of(number).keys) {
      EXPECT_EQ(key.epoch, 0);
      indices.push_back(key.index);
    }
  }
  EXPECT_THAT(indices, testing::ElementsAre(7, 8, 9, 10, 11, 12, 13, 14, 15, 16));
  EXPECT_EQ(request_of(2).keys.size(), 2u);
  EXPECT_TRUE(request_of(3).keys.empty());
}

}  // namespace
}  // namespace largo::data
