#include "trainer/data/tar_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "comm/base/error.h"
#include "trainer/data/decode.h"

namespace largo::data {
namespace {

using testing::HasSubstr;

// Two samples in the first shard, none in the second, one in the third.
TarIndex example() {
  return {.shape = {3, 20, 30},
          .left_out = 2,
          .shards = {{.file = "a.tar", .bytes = 10'240, .end = 2},
                     {.file = "b.tar", .bytes = 1024, .end = 2},
                     {.file = "c.tar", .bytes = 5000, .end = 3}},
          .samples = {{.header_block = 0, .data_block = 1, .image_bytes = 100, .label = 4},
                      {.header_block = 4, .data_block = 7, .image_bytes = 6656, .label = 0},
                      {.header_block = 0, .data_block = 3, .image_bytes = 0, .label = 999'999}}};
}

std::string refusal(const TarIndex& index) {
  try {
    parse_tar_index(encode(index));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kBadData);
    return error.what();
  }
  return "";
}

TEST(TarIndex, ReadsBackWhatWasWritten) {
  const TarIndex index = parse_tar_index(encode(example()));
  EXPECT_EQ(index.shape, (SampleShape{3, 20, 30}));
  EXPECT_EQ(index.left_out, 2);
  EXPECT_EQ(index.samples, example().samples);
  ASSERT_EQ(index.shards.size(), 3u);
  EXPECT_EQ(index.shards[2].file, "c.tar");
  EXPECT_EQ(index.shards[2].bytes, 5000u);
  EXPECT_EQ(index.shards[1].end, 2u);
  EXPECT_EQ(index.classes(), 1'000'000);
}

TEST(TarIndex, TakesSixteenBytesPerSample) {
  TarIndex index = example();
  const size_t before = encode(index).size();
  index.samples.resize(1'000'000);
  EXPECT_EQ(encode(index).size() - before, 16u * (1'000'000 - 3));
}

TEST(TarIndex, RefusesEveryTruncationAndWhatIsTooLong) {
  const std::string bytes = encode(example());
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THROW(parse_tar_index(bytes.substr(0, length)), Error) << length;
  }
  EXPECT_THROW(parse_tar_index(bytes + "x"), Error);
}

TEST(TarIndex, SurvivesEveryChangedByte) {
  const std::string bytes = encode(example());
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const char value : {'\0', '\x7f', '\xff'}) {
      std::string changed = bytes;
      changed[at] = value;
      try {
        parse_tar_index(changed);  // a changed label, say, is another index
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBadData);
      }
    }
  }
}

TEST(TarIndex, RefusesSamplesOutsideTheirShard) {
  TarIndex index = example();
  index.samples[1].image_bytes = 6657;
  EXPECT_THAT(refusal(index), HasSubstr("outside its shard"));
  index = example();
  index.samples[0].header_block = 1;
  EXPECT_THAT(refusal(index), HasSubstr("outside its shard"));
  index = example();
  index.samples[2].label = 1'000'000;
  EXPECT_THAT(refusal(index), HasSubstr("label that cannot be"));
  index = example();
  index.shards[1].end = 1;
  EXPECT_THAT(refusal(index), HasSubstr("do not divide"));
  index = example();
  index.shards[2].end = 2;
  EXPECT_THAT(refusal(index), HasSubstr("no shard"));
  index = example();
  index.shards[2].end = 4;
  EXPECT_THAT(refusal(index), HasSubstr("do not divide"));
}

TEST(TarIndex, RefusesShapesThatCannotBe) {
  for (const int64_t channels : {0, 2, 4}) {
    TarIndex index = example();
    index.shape.channels = channels;
    EXPECT_NE(refusal(index), "") << channels;
  }
  TarIndex index = example();
  index.shape.width = kMostPixels + 1;
  EXPECT_THAT(refusal(index), HasSubstr("too large"));
}

}  // namespace
}  // namespace largo::data
