#include "trainer/data/skipped_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(SkippedSamples, CountsEncountersAndWarnsOncePerSample) {
  std::vector<std::string> warnings;
  SkippedSamples skipped(100, [&](const std::string& message) { warnings.push_back(message); });
  EXPECT_EQ(skipped.total(), 0);
  skipped.add({0, 7}, "a.jpg ends early");
  skipped.add({0, 7}, "a.jpg ends early");
  skipped.add({1, 7}, "a.jpg ends early");
  skipped.add({1, 9}, "b.jpg is empty");
  EXPECT_EQ(skipped.total(), 4);
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_THAT(warnings[0], AllOf(HasSubstr("sample 7 of 100"), HasSubstr("a.jpg ends early")));
  EXPECT_THAT(warnings[1], AllOf(HasSubstr("sample 9 of 100"), HasSubstr("b.jpg is empty")));
}

TEST(SkippedSamples, MayBeUsedByManyThreads) {
  int warnings = 0;  // not atomic: calls do not overlap
  SkippedSamples skipped(1000, [&](const std::string&) { ++warnings; });
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int64_t i = 0; i < 500; ++i) {
          skipped.add({i % 3, i % 10}, "");
          skipped.train_on(std::vector<SampleKey>{{i % 3, i % 10}});
        }
      });
    }
  }
  EXPECT_EQ(skipped.total(), 2000);
  const std::vector<int64_t> trained_on = skipped.trained_on();
  EXPECT_LE(std::accumulate(trained_on.begin(), trained_on.end(), int64_t{0}), 2000);
  EXPECT_EQ(warnings, 10);
}

// What a loader has read ahead when training stops will be read again when it goes on.
TEST(SkippedSamples, CountForGoodOnceTheyAreTrainedOn) {
  SkippedSamples skipped(100, [](const std::string&) {});
  for (const SampleKey& key : {SampleKey{0, 7}, {0, 9}, {2, 7}}) skipped.add(key, "");
  EXPECT_THAT(skipped.trained_on(), testing::IsEmpty());
  skipped.train_on(std::vector<SampleKey>{{0, 6}, {0, 7}, {1, 9}});
  EXPECT_THAT(skipped.trained_on(), ElementsAre(1));
  skipped.train_on(std::vector<SampleKey>{{0, 7}, {2, 7}, {2, 8}});
  EXPECT_THAT(skipped.trained_on(), ElementsAre(1, 0, 1));
  EXPECT_EQ(skipped.total(), 3);

  SkippedSamples resumed(100, [](const std::string&) {});
  resumed.restore(skipped.trained_on());
  resumed.add({2, 9}, "");
  resumed.train_on(std::vector<SampleKey>{{2, 9}});
  EXPECT_THAT(resumed.trained_on(), ElementsAre(1, 0, 2));
}

TEST(CheckSkipped, AllowsOneInAThousand) {
  check_skipped(0, 10);
  check_skipped(1, 1000);
  check_skipped(50, 50'000);
  try {
    check_skipped(51, 50'000);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("51 samples"), HasSubstr("50000"),
                                    HasSubstr("data.on_bad_sample"), HasSubstr("at most 0.1 %")));
  }
  EXPECT_THROW(check_skipped(1, 999), Error);
}

}  // namespace
}  // namespace largo::data
