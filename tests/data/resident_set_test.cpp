// On the CPU as the device.
#include "trainer/data/resident_set.h"

#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/batch_test_util.h"

namespace largo::data {
namespace {

const at::Device kCpu(at::kCPU);

TEST(ResidentSet, HoldsAllSamplesInOrder) {
  for (const int64_t workers : {0, 3}) {
    const FakeDataset dataset = images(3);
    const ResidentSet set(dataset, transform(3), workers, kCpu);
    ASSERT_EQ(set.samples().sizes(), (at::IntArrayRef{kSamples, 4, 5, 3}));
    ASSERT_EQ(set.samples().scalar_type(), at::kByte);
    for (int64_t n = 0; n < kSamples; ++n) {
      EXPECT_EQ(set.labels()[n].item<int64_t>(), n % 10);
      const at::Tensor pixels = set.samples()[n].reshape({-1});
      for (int64_t i = 0; i < 60; ++i) {
        ASSERT_EQ(pixels[i].item<uint8_t>(), FakeDataset::byte(n, i)) << n << ' ' << i;
      }
    }
    EXPECT_EQ(dataset.reads, kSamples);
  }
}

// Larger than one copy takes.
TEST(ResidentSet, IsReadInParts) {
  const FakeDataset dataset(50, {3, 400, 400});
  Transform large = transform(3);
  large.framing.height = large.framing.width = 400;
  const ResidentSet set(dataset, large, 1, kCpu);
  const BatchMaker maker(dataset, [&] {
    large.dtype = at::kByte, large.augment = {};
    return large;
  }());
  for (const int64_t n : {0, 16, 17, 18, 33, 34, 35, 49}) {
    const Batch alone = maker.make(of({{0, n}}));
    EXPECT_TRUE(at::equal(set.samples()[n], alone.images[0].permute({1, 2, 0}))) << n;
    EXPECT_EQ(set.labels()[n].item<int64_t>(), n % 10);
  }
}

TEST(ResidentSet, TakesSamplesAtTheirFinalSize) {
  const FakeDataset dataset(kSamples, {3, 8, 10});  // which are then reduced
  const ResidentSet set(dataset, transform(3), 1, kCpu);
  Transform raw = transform(3, at::kByte);
  raw.augment = {};
  const Batch host = BatchMaker(dataset, raw).make(of({{0, 7}}));
  EXPECT_TRUE(at::equal(set.samples()[7], host.images[0].permute({1, 2, 0})));
}

TEST(ResidentSet, ABadSampleIsAnError) {
  FakeDataset dataset = images(1);
  dataset.broken = {25, 31};
  for (const int64_t workers : {0, 3}) {
    try {
      const ResidentSet set(dataset, transform(1), workers, kCpu);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadData);
      EXPECT_STREQ(error.what(), "sample 25 is broken");
    }
  }
}

TEST(ResidentBatches, AreThoseOfTheLoader) {
  const FakeDataset dataset = images(3);
  for (const int64_t cutout : {0, 2}) {
    for (const double mix : {1.0, 0.7}) {
      Transform augmented = transform(3);
      augmented.augment.cutout = cutout;
      const ResidentSet set(dataset, augmented, 2, kCpu);
      ResidentBatches batches(set, augmented, stream(20, mix), 3, 40);
      Loader loader(dataset, augmented, 0, stream(20, mix), 3, 40);
      for (int64_t number = 3; number < 40; ++number) {
        const Batch batch = batches.next(), host = loader.next();
        ASSERT_TRUE(at::allclose(batch.images, host.images, 0, 2e-6)) << number;
        ASSERT_EQ(batch.images.strides(), host.images.strides());
        ASSERT_TRUE(at::equal(batch.labels, host.labels));
        ASSERT_EQ(batch.partner_labels.defined(), host.partner_labels.defined());
        if (mix < 1) {
          ASSERT_TRUE(at::equal(batch.partner_labels, host.partner_labels));
        }
        ASSERT_EQ(batch.keys, host.keys);
        ASSERT_EQ(batch.mix, host.mix);
      }
      EXPECT_THROW(batches.next(), Error);
    }
  }
}

TEST(ResidentBatches, MayBeEmpty) {
  const FakeDataset dataset = images(1);
  const ResidentSet set(dataset, transform(1), 0, kCpu);
  ResidentBatches batches(set, transform(1), in_order(20), 0, 5);
  for (const int64_t size : {20, 20, 10, 0, 0}) {
    const Batch batch = batches.next();
    EXPECT_EQ(batch.images.sizes(), (at::IntArrayRef{size, 1, 4, 5}));
    EXPECT_EQ(batch.labels.size(0), size);
  }
}

TEST(ResidentBatches, MixupNeedsTheSampleAfterTheLast) {
  const FakeDataset dataset = images(1);
  const ResidentSet set(dataset, transform(1), 0, kCpu);
  const auto request_of = [](int64_t) { return BatchRequest{.keys = {{0, 1}}, .mix = 0.6}; };
  EXPECT_THROW(ResidentBatches(set, transform(1), request_of, 0, 5).next(), Error);
}

TEST(ResidentSets, ReadASetOnce) {
  const FakeDataset dataset = images(3);
  ResidentSets sets(kCpu, 1 << 20);
  const ResidentSet* const first = sets.get(dataset, transform(3), 0, false);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(sets.get(dataset, transform(3, at::kDouble), 2, false), first);
  EXPECT_EQ(dataset.reads, kSamples);
  Transform other = transform(3);
  other.framing = {.cut = Cut::kCenter, .height = 3, .width = 3};
  EXPECT_NE(sets.get(dataset, other, 0, false), first);
  EXPECT_EQ(dataset.reads, 2 * kSamples);
}

TEST(ResidentSets, TakeWhatFits) {
  const FakeDataset dataset = images(3), second = images(3);
  const int64_t bytes = kSamples * (3 * 4 * 5 + 8);
  EXPECT_EQ(ResidentSets(kCpu, bytes - 1).get(dataset, transform(3), 0, false), nullptr);
  ResidentSets sets(kCpu, 2 * bytes - 1);
  EXPECT_NE(sets.get(dataset, transform(3), 0, false), nullptr);
  EXPECT_EQ(sets.get(second, transform(3), 0, false), nullptr);
  EXPECT_NE(sets.get(dataset, transform(3), 0, false), nullptr);
  EXPECT_EQ(second.reads, 0);
}

TEST(ResidentSets, LeaveOthersToTheLoader) {
  const FakeDataset dataset = images(3);
  ResidentSets sets(kCpu, 1 << 20);
  Transform random = transform(3);
  random.framing.cut = Cut::kRandom;
  EXPECT_EQ(sets.get(dataset, random, 0, false), nullptr);
  EXPECT_THROW(ResidentSet(dataset, random, 0, kCpu), Error);
  EXPECT_EQ(sets.get(dataset, transform(3), 0, /*skips=*/true), nullptr);
  EXPECT_EQ(dataset.reads, 0);
}

}  // namespace
}  // namespace largo::data
