#include "trainer/step_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "comm/base/error.h"

namespace largo {
namespace {

namespace fs = std::filesystem;

std::string content(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

void run(StepProfile& profile, int64_t steps) {
  for (int64_t step = 1; step <= steps; ++step) {
    profile.before_step(step);
    if (step == 3) {
      (void)torch::ones({3}).cos();
    } else {
      (void)torch::ones({3}).sin();
    }
    profile.after_step(step);
  }
}

class StepProfileTest : public testing::Test {
 protected:
  fs::path file_ = fs::path(testing::TempDir()) / "step_profile_test.json";
  void SetUp() override { fs::remove(file_); }
  void TearDown() override { fs::remove(file_); }
};

TEST_F(StepProfileTest, RecordsTheStepsThatWereAskedFor) {
  StepProfile profile(StepRange{3, 3}, false, file_);
  run(profile, 5);
  EXPECT_THAT(content(file_), testing::HasSubstr("aten::cos"));
  EXPECT_THAT(content(file_), testing::Not(testing::HasSubstr("aten::sin")));
}

TEST_F(StepProfileTest, ARunThatBeginsInsideTheRangeRecordsTheRest) {
  StepProfile profile(StepRange{0, 2}, false, file_);
  run(profile, 3);
  EXPECT_THAT(content(file_), testing::HasSubstr("aten::sin"));
  EXPECT_THAT(content(file_), testing::Not(testing::HasSubstr("aten::cos")));
}

TEST_F(StepProfileTest, NothingAskedForNothingWritten) {
  StepProfile profile(std::nullopt, false, file_);
  run(profile, 3);
  {
    StepProfile cut_short(StepRange{2, 9}, false, file_);
    run(cut_short, 4);
  }
  EXPECT_FALSE(fs::exists(file_));
  StepProfile again(StepRange{1, 1}, false, file_);  // the one given up is not in the way
  run(again, 1);
  EXPECT_TRUE(fs::exists(file_));
}

TEST_F(StepProfileTest, AFileThatCannotBeWrittenIsAnError) {
  StepProfile profile(StepRange{1, 1}, false, "/no/such/folder/profile.json");
  EXPECT_THROW(run(profile, 1), std::exception);
}

TEST(StepRange, ReadsAndPrints) {
  using Codec = OptionCodec<StepRange>;
  EXPECT_EQ(Codec::parse("12-15"), (StepRange{12, 15}));
  EXPECT_EQ(Codec::parse("7"), (StepRange{7, 7}));
  EXPECT_EQ(Codec::parse(Codec::print({3, 4})), (StepRange{3, 4}));
  for (const char* wrong : {"", "-", "5-", "-5", "5-4", "0-3", "a-b", "1-2-3", "1.5-2"}) {
    EXPECT_THROW(Codec::parse(wrong), std::invalid_argument) << wrong;
  }
}

}  // namespace
}  // namespace largo
