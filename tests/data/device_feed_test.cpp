// On the CPU, where a feed is a Loader; batch_ring_test and resident_set_test have the others.
#include "trainer/data/device_feed.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "comm/base/error.h"
#include "tests/data/batch_test_util.h"

namespace largo::data {
namespace {

const at::Device kCpu(at::kCPU);

TEST(BatchFeed, IsTheLoaderOnTheCpu) {
  const FakeDataset dataset = images(3);
  for (const int64_t workers : {0, 1, 3}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      ResidentSets resident(kCpu, 1 << 20);
      BatchFeed feed(dataset, transform(3, dtype), workers, stream(20, 0.8), 2, 12, nullptr, kCpu,
                     &resident);
      const BatchMaker maker(dataset, transform(3, dtype));
      for (int64_t number = 2; number < 12; ++number) {
        ASSERT_TRUE(equal(feed.next(), maker.make(stream(20, 0.8)(number)))) << number;
      }
      EXPECT_THROW(feed.next(), Error);
      EXPECT_GT(feed.times().busy_s(), 0);
    }
  }
}

TEST(BatchFeed, CountsSkippedSamples) {
  FakeDataset dataset = images(1);
  dataset.broken = {25};
  SkippedSamples skipped(kSamples, [](const std::string&) {});
  BatchFeed feed(dataset, transform(1), 1, in_order(10), 2, 5, &skipped, kCpu);
  EXPECT_EQ(feed.next().labels[5].item<int64_t>(), 6) << "the label of 26";
  EXPECT_EQ(skipped.total(), 1);
}

}  // namespace
}  // namespace largo::data
