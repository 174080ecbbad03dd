#include "trainer/data/memory_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/fake_dataset.h"
#include "trainer/data/resize.h"

namespace largo::data {
namespace {

constexpr int64_t kPlenty = 1 << 30;
constexpr Framing kSmall = {.cut = Cut::kCenter, .height = 3, .width = 2, .share = 0.5};

// The set, and the one below it.
struct Kept {
  explicit Kept(const Framing& framing = kSmall, int64_t most_bytes = kPlenty,
                int64_t bytes_per_sample = 100) {
    auto made = std::make_unique<FakeDataset>();
    made->bytes_per_sample = bytes_per_sample;
    below = made.get();
    set = keep_in_memory(std::move(made), framing, most_bytes);
  }
  bool keeps() const { return set.get() != below; }

  FakeDataset* below;
  std::unique_ptr<const Dataset> set;
};

std::vector<uint8_t> pixels_of(const Image& image) {
  return {image.pixels.begin(), image.pixels.begin() + image.height * image.width * image.channels};
}

std::vector<uint8_t> read(const Dataset& set, int64_t index, const Framing& framing = kSmall) {
  Image image;
  set.read(index, framing, image);
  EXPECT_EQ(image.height, framing.height);
  EXPECT_EQ(image.width, framing.width);
  return pixels_of(image);
}

std::vector<uint8_t> expected(const FakeDataset& below, int64_t index) {
  Image image, small;
  below.read(index, kSmall, image);
  Resizer().resize(image, 3, 2, small);
  return pixels_of(small);
}

TEST(KeepInMemory, ReadsEverySampleOnceAndResizesIt) {
  const Kept kept;
  ASSERT_TRUE(kept.keeps());
  EXPECT_EQ(kept.set->shape(), (SampleShape{3, 3, 2}));
  for (int round = 0; round < 3; ++round) {
    for (const int64_t index : {0, 49, 17}) {
      const int64_t reads = kept.below->reads;
      EXPECT_EQ(kept.set->stored_bytes(index), round == 0 ? 100 : 0);
      const std::vector<uint8_t> pixels = read(*kept.set, index);
      EXPECT_EQ(kept.below->reads, reads + (round == 0 ? 1 : 0));
      EXPECT_EQ(pixels, expected(*kept.below, index));
    }
  }
}

TEST(KeepInMemory, TellsWhatTheSetBelowTells) {
  Kept kept;
  kept.below->shard_sizes = {10, 20, 20};
  EXPECT_EQ(kept.set->size(), 50);
  EXPECT_EQ(kept.set->classes(), 10);
  EXPECT_EQ(kept.set->label(17), 7);
  EXPECT_EQ(kept.set->shard(17), 1);
}

TEST(KeepInMemory, LeavesWhatCannotOrNeedNotBeKept) {
  Framing random = kSmall;
  random.cut = Cut::kRandom;
  EXPECT_FALSE(Kept(random).keeps());
  EXPECT_FALSE(Kept(kSmall, kPlenty, /*bytes_per_sample=*/0).keeps()) << "in memory already";
  EXPECT_TRUE(Kept(kSmall, 50 * 18).keeps());
  EXPECT_FALSE(Kept(kSmall, 50 * 18 - 1).keeps());
  const Framing whole = {.cut = Cut::kWhole, .height = 4, .width = 5};
  EXPECT_TRUE(Kept(whole).keeps());
}

TEST(KeepInMemory, BadSamplesAreReadEveryTime) {
  Kept kept;
  kept.below->broken = {5};
  for (int attempt = 0; attempt < 2; ++attempt) EXPECT_THROW(read(*kept.set, 5), Error);
  EXPECT_EQ(kept.below->reads, 2);
  kept.below->broken = {};
  EXPECT_EQ(read(*kept.set, 5), expected(*kept.below, 5));
}

TEST(KeepInMemory, AnotherFramingIsABug) {
  const Kept kept;
  Framing other = kSmall;
  other.seed = 7;
  other.key = {3, 4};
  EXPECT_EQ(read(*kept.set, 1, other), expected(*kept.below, 1));
  for (const auto& change : std::vector<void (*)(Framing&)>{
           [](Framing& f) { f.cut = Cut::kWhole; }, [](Framing& f) { f.height = 4; },
           [](Framing& f) { f.width = 4; }, [](Framing& f) { f.share = 1; }}) {
    Framing wrong = kSmall;
    change(wrong);
    Image image;
    EXPECT_THROW(kept.set->read(1, wrong, image), Error);
  }
}

TEST(KeepInMemory, ThreadsMayMeet) {
  const Kept kept;
  std::vector<std::vector<uint8_t>> all;
  for (int64_t index = 0; index < 50; ++index) all.push_back(expected(*kept.below, index));
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int64_t i = 0; i < 200; ++i) {
        EXPECT_EQ(read(*kept.set, i % 50), all[static_cast<size_t>(i % 50)]);
      }
    });
  }
}

}  // namespace
}  // namespace largo::data
