#include "trainer/data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/batch_test_util.h"

namespace largo::data {
namespace {

TEST(Loader, HandsOutTheSameBitsForAnyNumberOfWorkers) {
  FakeDataset dataset = images(3);
  dataset.broken = {13, 14, 40};
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
  EXPECT_EQ(skipped.total(), 1);
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
    std::vector<int64_t> sizes(5);
    for (int64_t& size : sizes) size = loader.next().labels.size(0);
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

TEST(Loader, KnowsWhatIsReady) {
  const FakeDataset dataset = images(1);
  Loader loader(dataset, transform(1), 1, in_order(20), 0, 2);
  for (int i = 0; i < 2; ++i) {
    while (!loader.ready()) std::this_thread::yield();
    EXPECT_EQ(loader.next().labels.size(0), 20);
  }
  EXPECT_FALSE(loader.ready());
}

TEST(Loader, MayBeDestroyedAtAnyTime) {
  const FakeDataset dataset = images(3);
  for (int taken = 0; taken < 40; ++taken) {
    Loader loader(dataset, transform(3), 3, stream(16), 0, 1000);
    for (int i = 0; i < taken % 8; ++i) loader.next();
  }
  EXPECT_LT(dataset.reads, int64_t{40} * 16 * (7 + Loader::kAhead));
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
