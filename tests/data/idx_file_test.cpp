#include "trainer/data/idx_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/idx_bytes.h"
#include "trainer/base/keyed_random.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kPixels = "abcdefghijklmnopqrstuvwx";  // 2 x 3 x 4
const std::string kImages = idx_bytes({2, 3, 4}, kPixels);

IdxArray read(const std::string& bytes, int rank = 3) {
  std::istringstream in(bytes);
  return read_idx(in, "made-up", rank);
}

std::string text(const IdxArray& array) { return {array.bytes.begin(), array.bytes.end()}; }

struct Refusal {
  ExitCode code = ExitCode::kDone;  // kDone: nothing was thrown
  std::string message;
};

Refusal refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {};
}

Refusal refusal(const std::string& bytes, int rank = 3) {
  return refusal([&] { read(bytes, rank); });
}

TEST(IdxFile, ReadsPlainAndGzippedAlike) {
  for (const std::string& bytes : {kImages, gzip(kImages)}) {
    const IdxArray array = read(bytes);
    EXPECT_THAT(array.dims, ElementsAre(2, 3, 4));
    EXPECT_EQ(text(array), kPixels);
  }
  EXPECT_EQ(text(read(idx_bytes({5}, "01234"), 1)), "01234");
}

TEST(IdxFile, ReadsGzipMembersOneAfterTheOther) {
  EXPECT_EQ(text(read(gzip(kImages.substr(0, 9)) + gzip(kImages.substr(9)))), kPixels);
}

// More than any buffer: 5 MiB that hardly compress, and as many zeros that compress to nothing.
TEST(IdxFile, ReadsLargeArrays) {
  constexpr size_t kSize = 5 << 20;
  KeyedRandom random(1, Purpose::kSynthetic, 0, 0);
  std::string noise(kSize, '\0');
  for (char& c : noise) c = static_cast<char>(random.next_u32());
  for (const std::string& elements : {noise, std::string(kSize, '\0')}) {
    const std::string bytes = idx_bytes({5, 1024, 1024}, elements);
    EXPECT_TRUE(text(read(bytes)) == elements);
    EXPECT_TRUE(text(read(gzip(bytes))) == elements);
  }
}

TEST(IdxFile, ReadsFilesAndTheirHeadersAlone) {
  const TempFolder folder;
  for (const std::string& bytes : {kImages, gzip(kImages)}) {
    const auto file = folder.path() / "images";
    write_file(file, bytes);
    EXPECT_EQ(text(read_idx(file, 3)), kPixels);
    EXPECT_THAT(read_idx_dims(file, 3), ElementsAre(2, 3, 4));
  }
  const auto header_only = folder.path() / "header";
  write_file(header_only, kImages.substr(0, 16));
  EXPECT_THAT(read_idx_dims(header_only, 3), ElementsAre(2, 3, 4));
}

TEST(IdxFile, MissingFilesAreInputMissing) {
  const TempFolder folder;
  const Refusal missing = refusal([&] { read_idx(folder.path() / "nothing", 3); });
  EXPECT_EQ(missing.code, ExitCode::kInputMissing);
  EXPECT_THAT(missing.message,
              AllOf(HasSubstr((folder.path() / "nothing").string()), HasSubstr("data.path")));
  EXPECT_EQ(refusal([&] { read_idx_dims(folder.path() / "nothing", 3); }).code,
            ExitCode::kInputMissing);
  EXPECT_EQ(refusal([&] { read_idx(folder.path(), 3); }).code, ExitCode::kBadData);
}

TEST(IdxFile, RefusesEveryTruncation) {
  for (const std::string& bytes : {kImages, gzip(kImages)}) {
    for (size_t length = 0; length < bytes.size(); ++length) {
      const Refusal cut = refusal(bytes.substr(0, length));
      EXPECT_EQ(cut.code, ExitCode::kBadData) << "cut to " << length;
      EXPECT_THAT(cut.message, HasSubstr("made-up: ")) << "cut to " << length;
    }
  }
}

TEST(IdxFile, SaysHowMuchOfATruncatedFileIsThere) {
  EXPECT_THAT(refusal(kImages.substr(0, 20)).message,
              HasSubstr("expected 24 bytes (2 x 3 x 4) after the header, found 4;"));
  EXPECT_THAT(refusal(kImages.substr(0, 7)).message,
              HasSubstr("expected an IDX header of 16 bytes, found a file of 7"));
  EXPECT_THAT(refusal("").message, HasSubstr("found a file of 0"));
}

TEST(IdxFile, RefusesTrailingBytes) {
  EXPECT_THAT(refusal(kImages + "x").message, HasSubstr("expected 24 bytes (2 x 3 x 4) after the "
                                                        "header, found 25"));
  EXPECT_THAT(refusal(gzip(kImages + "xy")).message, HasSubstr("found 26"));
  EXPECT_THAT(refusal(kImages + std::string(10'000, 'x')).message, HasSubstr("found at least "));
  EXPECT_EQ(refusal(gzip(kImages) + "x").code, ExitCode::kBadData);
  EXPECT_EQ(refusal(gzip(kImages) + gzip("x")).code, ExitCode::kBadData);
}

TEST(IdxFile, RefusesOtherMagicNumbers) {
  EXPECT_THAT(refusal(kImages, 1).message,
              AllOf(HasSubstr("0x00000801"), HasSubstr("1 dimensions, found 0x00000803")));
  EXPECT_THAT(refusal(idx_bytes({5}, "01234")).message, HasSubstr("found 0x00000801"));
  std::string floats = kImages;
  floats[2] = 0x0d;
  EXPECT_THAT(refusal(floats).message, HasSubstr("found 0x00000d03"));
  EXPECT_THAT(refusal("<!DOCTYPE html>\n").message, HasSubstr("magic number"));
}

TEST(IdxFile, RefusesEmptyArrays) {
  EXPECT_THAT(refusal(idx_bytes({0, 3, 4}, "")).message, HasSubstr("is empty"));
  EXPECT_THAT(refusal(idx_bytes({2, 3, 0}, "")).message, HasSubstr("2 x 3 x 0"));
}

// Neither may they be allocated: 4 G x 4 G x 4 G overflows 64 bits, 15 GiB is legal but not there.
TEST(IdxFile, RefusesSizesThatTheFileDoesNotHold) {
  constexpr uint32_t kMost = 0xffffffff;
  EXPECT_THAT(
      refusal(idx_bytes({kMost, kMost, kMost}, kPixels)).message,
      AllOf(HasSubstr("4294967295 x 4294967295 x 4294967295"), HasSubstr("legal: at most")));
  EXPECT_EQ(refusal(idx_bytes({kMost, 2, 3}, kPixels)).code, ExitCode::kBadData);
  const Refusal promised = refusal(idx_bytes({15, 1 << 15, 1 << 15}, kPixels));
  EXPECT_EQ(promised.code, ExitCode::kBadData);
  EXPECT_THAT(promised.message, HasSubstr("expected 16106127360 bytes"));
  EXPECT_THAT(promised.message, HasSubstr("found 24;"));
}

TEST(IdxFile, RefusesCorruptGzip) {
  const std::string packed = gzip(kImages);
  std::string wrong_checksum = packed;
  wrong_checksum[packed.size() - 8] ^= 1;
  EXPECT_THAT(refusal(wrong_checksum).message, HasSubstr("gzip data are corrupt"));
  std::string wrong_length = packed;
  wrong_length.back() ^= 1;
  EXPECT_THAT(refusal(wrong_length).message, HasSubstr("gzip data are corrupt"));
  std::string wrong_block = packed;
  wrong_block[10] = static_cast<char>(0xff);
  EXPECT_EQ(refusal(wrong_block).code, ExitCode::kBadData);
}

// Bytes changed, dropped, doubled and inserted at random: whatever comes of it is an array of the
// size its header says, or a refusal.
TEST(IdxFile, SurvivesMutations) {
  const std::vector<std::string> seeds = {kImages, gzip(kImages), idx_bytes({24}, kPixels)};
  int accepted = 0, refused = 0;
  for (uint64_t round = 0; round < 30'000; ++round) {
    KeyedRandom random(1, Purpose::kSynthetic, 0, round);
    std::string bytes = seeds[random.below(seeds.size())];
    for (uint64_t edits = 1 + random.below(4); edits > 0 && !bytes.empty(); --edits) {
      const size_t at = random.below(bytes.size());
      const size_t length = random.below(bytes.size() - at) + 1;
      switch (random.below(5)) {
        case 0:
          bytes[at] = static_cast<char>(random.next_u32());
          break;
        case 1:
          bytes[at] ^= static_cast<char>(1 << random.below(8));
          break;
        case 2:
          bytes.erase(at, length);
          break;
        case 3:
          bytes.insert(at, bytes.substr(at, length));
          break;
        default:
          bytes.insert(at, std::string(length, static_cast<char>(random.next_u32())));
      }
    }
    for (const int rank : {1, 3}) {
      std::istringstream in(bytes);
      try {
        const IdxArray array = read_idx(in, "mutant", rank);
        int64_t total = 1;
        for (const int64_t dim : array.dims) total *= dim;
        ASSERT_EQ(static_cast<int64_t>(array.bytes.size()), total);
        ++accepted;
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), ExitCode::kBadData) << error.what();
        ++refused;
      }
    }
  }
  EXPECT_GT(accepted, 1000);  // changes of single pixels
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace largo::data
