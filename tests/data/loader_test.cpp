#include "trainer/data/loader.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/sampler.h"

namespace largo::data {
namespace {

constexpr int64_t kSamples = 50;
constexpr uint64_t kSeed = 3;

// Every pixel tells its sample, place and channel. Reading `broken` throws.
class Pattern final : public Dataset {
 public:
  explicit Pattern(int64_t channels, int64_t broken = -1) : channels_(channels), broken_(broken) {}
  int64_t size() const override { return kSamples; }
  SampleShape shape() const override { return {channels_, 4, 5}; }
  int64_t classes() const override { return 10; }
  int64_t label(int64_t index) const override { return index % 10; }
  void read(int64_t index, std::span<uint8_t> hwc) const override {
    ++reads;
    if (index == broken_) fail(ExitCode::kBadData, "sample ", index, " is broken");
    for (size_t at = 0; at < hwc.size(); ++at) hwc[at] = static_cast<uint8_t>(index * 4 + at);
  }

  mutable std::atomic<int64_t> reads = 0;

 private:
  int64_t channels_;
  int64_t broken_;
};

Transform transform(int64_t channels, at::ScalarType dtype = at::kFloat) {
  Transform made;
  made.mean = std::vector<double>(static_cast<size_t>(channels), 0.4);
  made.std = std::vector<double>(static_cast<size_t>(channels), 0.3);
  made.dtype = dtype;
  made.augment = {.pad_crop = 2, .flip = true};
  made.seed = kSeed;
  return made;
}

// Batches of `batch` consecutive positions of the sample stream.
KeysOf stream(int64_t batch) {
  return [sampler = std::make_shared<Sampler>(kSeed, kSamples), batch](int64_t number) {
    return sampler->keys(number * batch, batch);
  };
}

KeysOf in_order(int64_t batch) { return consecutive_keys(0, kSamples, batch); }

bool equal(const Batch& a, const Batch& b) {
  return a.keys == b.keys && at::equal(a.labels, b.labels) && at::equal(a.images, b.images);
}

TEST(BatchMaker, WritesEverySampleWhereItBelongs) {
  for (const int64_t channels : {1, 3}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const Pattern dataset(channels);
      Transform plain = transform(channels, dtype);
      plain.augment = {};
      const Batch batch = BatchMaker(dataset, plain).make({{0, 7}, {1, 42}, {0, 0}});
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
    const Pattern dataset(channels);
    const Batch batch = BatchMaker(dataset, transform(channels)).make({{0, 1}, {0, 2}});
    EXPECT_EQ(batch.images.strides(), (at::IntArrayRef{20 * channels, 1, 5 * channels, channels}));
  }
}

TEST(BatchMaker, ASampleDoesNotDependOnItsBatch) {
  const Pattern dataset(3);
  const BatchMaker maker(dataset, transform(3));
  const std::vector<SampleKey> keys = Sampler(kSeed, kSamples).keys(20, 40);
  const Batch whole = maker.make(keys);
  for (size_t n = 0; n < keys.size(); ++n) {
    const Batch alone = maker.make({keys[n]});
    ASSERT_TRUE(at::equal(alone.images[0], whole.images[static_cast<int64_t>(n)])) << n;
  }
  const Batch next_epoch = maker.make({{keys[0].epoch + 1, keys[0].index}});
  EXPECT_FALSE(at::equal(next_epoch.images[0], whole.images[0]));
}

TEST(BatchMaker, AnEmptyBatchKeepsItsShape) {
  const Pattern dataset(3);
  const Batch batch = BatchMaker(dataset, transform(3)).make({});
  EXPECT_EQ(batch.images.sizes(), (at::IntArrayRef{0, 3, 4, 5}));
  EXPECT_EQ(batch.labels.sizes(), (at::IntArrayRef{0}));
  EXPECT_TRUE(batch.keys.empty());
}

TEST(BatchMaker, WrongUseIsABug) {
  const Pattern dataset(3);
  EXPECT_THROW(BatchMaker(dataset, transform(1)), Error);
  EXPECT_THROW(BatchMaker(dataset, transform(3, at::kHalf)), Error);
  EXPECT_THROW(BatchMaker(dataset, transform(3)).make({{0, kSamples}}), Error);
  EXPECT_THROW(BatchMaker(dataset, transform(3)).make({{0, -1}}), Error);
}

TEST(Loader, HandsOutTheSameBitsForAnyNumberOfWorkers) {
  const Pattern dataset(3);
  const BatchMaker maker(dataset, transform(3));
  for (const int64_t workers : {0, 1, 2, 7}) {
    Loader loader(dataset, transform(3), workers, stream(8), 2, 30);
    const KeysOf keys = stream(8);
    for (int64_t number = 2; number < 30; ++number) {
      ASSERT_TRUE(equal(loader.next(), maker.make(keys(number)))) << workers << ' ' << number;
    }
    EXPECT_THROW(loader.next(), Error);
  }
}

TEST(Loader, AsksForKeysInOrderAndOneAtATime) {
  const Pattern dataset(1);
  std::vector<int64_t> asked;
  std::atomic<int> inside = 0;
  {
    Loader loader(
        dataset, transform(1), 4,
        [&](int64_t number) {
          EXPECT_EQ(++inside, 1);
          asked.push_back(number);
          --inside;
          return std::vector<SampleKey>{{0, number % kSamples}};
        },
        0, 200);
    for (int i = 0; i < 200; ++i) loader.next();
  }
  ASSERT_EQ(asked.size(), 200u);
  for (int64_t i = 0; i < 200; ++i) EXPECT_EQ(asked[static_cast<size_t>(i)], i);
}

TEST(Loader, EmptyBatchesAreLegal) {
  const Pattern dataset(1);
  for (const int64_t workers : {0, 2}) {
    Loader loader(dataset, transform(1), workers, in_order(20), 0, 5);
    std::vector<int64_t> sizes;
    for (int i = 0; i < 5; ++i) sizes.push_back(loader.next().labels.size(0));
    EXPECT_THAT(sizes, testing::ElementsAre(20, 20, 10, 0, 0)) << "50 samples";
  }
}

TEST(Loader, AnEmptyRangeOfBatchesIsLegal) {
  const Pattern dataset(1);
  for (const int64_t workers : {0, 2}) {
    Loader loader(dataset, transform(1), workers, in_order(20), 3, 3);
    EXPECT_THROW(loader.next(), Error);
  }
}

TEST(Loader, AnErrorComesWithItsBatch) {
  for (const int64_t workers : {0, 1, 3}) {
    const Pattern dataset(1, /*broken=*/25);
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
  const Pattern dataset(1);
  for (const int64_t workers : {0, 2}) {
    Loader loader(
        dataset, transform(1), workers,
        [](int64_t number) -> std::vector<SampleKey> {
          if (number == 1) throw std::runtime_error("no keys");
          return {{0, 0}};
        },
        0, 5);
    loader.next();
    EXPECT_THROW(loader.next(), std::runtime_error);
  }
}

TEST(Loader, WorkersStayWithinTheirBound) {
  const Pattern dataset(1);
  std::atomic<int64_t> asked = 0;
  Loader loader(
      dataset, transform(1), 2,
      [&](int64_t number) {
        asked = number + 1;
        return std::vector<SampleKey>{{0, 0}};
      },
      0, 1000);
  for (int64_t handed = 1; handed <= 100; ++handed) {
    loader.next();
    EXPECT_LE(asked, handed + 5);
  }
}

TEST(Loader, MayBeDestroyedAtAnyTime) {
  const Pattern dataset(3);
  for (int taken = 0; taken < 40; ++taken) {
    Loader loader(dataset, transform(3), 3, stream(16), 0, 1000);
    for (int i = 0; i < taken % 8; ++i) loader.next();
  }
  EXPECT_LT(dataset.reads, 40 * 16 * (7 + 7));
}

TEST(Loader, BatchesOutliveIt) {
  const Pattern dataset(3);
  auto loader = std::make_unique<Loader>(dataset, transform(3), 2, stream(16), 0, 10);
  const Batch batch = loader->next();
  loader.reset();
  EXPECT_TRUE(equal(batch, BatchMaker(dataset, transform(3)).make(stream(16)(0))));
}

TEST(ConsecutiveKeys, CoverARangeOnce) {
  const KeysOf keys_of = consecutive_keys(7, 10, 4);
  std::vector<int64_t> indices;
  for (int64_t number = 0; number < 5; ++number) {
    for (const SampleKey& key : keys_of(number)) {
      EXPECT_EQ(key.epoch, 0);
      indices.push_back(key.index);
    }
  }
  EXPECT_THAT(indices, testing::ElementsAre(7, 8, 9, 10, 11, 12, 13, 14, 15, 16));
  EXPECT_EQ(keys_of(2).size(), 2u);
  EXPECT_TRUE(keys_of(3).empty());
}

}  // namespace
}  // namespace largo::data
