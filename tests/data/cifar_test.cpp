#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/data_test_util.h"
#include "tests/data/idx_bytes.h"
#include "trainer/data/catalog.h"
#include "trainer/data/cifar_data.h"
#include "trainer/data/cifar_file.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

namespace fs = std::filesystem;

const CifarLabels kTen = {10};
const CifarLabels kHundred = {20, 100};

// A record whose red, green and blue planes hold value, value + 1, … and so on, modulo 251.
std::string record(const std::vector<int>& labels, int value) {
  std::string bytes;
  for (const int label : labels) bytes += static_cast<char>(label);
  for (size_t i = 0; i < kCifarValues; ++i) {
    bytes += static_cast<char>((static_cast<size_t>(value) + i) % 251);
  }
  return bytes;
}

std::vector<uint8_t> to_bytes(const std::string& text) { return {text.begin(), text.end()}; }

TEST(ParseCifar, TurnsPlanesIntoPixels) {
  std::vector<uint8_t> pixels = {77}, labels = {9};  // it appends
  parse_cifar(to_bytes(record({3}, 0) + record({9}, 5)), kTen, "f", pixels, labels);
  EXPECT_THAT(labels, ElementsAre(9, 3, 9));
  ASSERT_EQ(pixels.size(), 1 + 2 * kCifarValues);
  EXPECT_EQ(pixels[0], 77);
  for (size_t i = 0; i < 2; ++i) {
    for (size_t at = 0; at < 1024; ++at) {
      for (size_t c = 0; c < 3; ++c) {
        ASSERT_EQ(pixels[1 + i * kCifarValues + 3 * at + c], (5 * i + 1024 * c + at) % 251);
      }
    }
  }
}

TEST(ParseCifar, TakesTheFineLabel) {
  std::vector<uint8_t> pixels, labels;
  parse_cifar(to_bytes(record({19, 99}, 0) + record({0, 42}, 0)), kHundred, "f", pixels, labels);
  EXPECT_THAT(labels, ElementsAre(99, 42));
  EXPECT_EQ(pixels[0], 0);
  EXPECT_EQ(pixels[3], 1);
}

TEST(ParseCifar, NamesRecordAndByteOfWhatIsWrong) {
  std::vector<uint8_t> pixels, labels;
  const auto parse = [&](const std::string& text, const CifarLabels& kind) {
    return failure(ExitCode::kBadData,
                   [&] { parse_cifar(to_bytes(text), kind, "d/f.bin", pixels, labels); });
  };
  EXPECT_THAT(parse(record({3}, 0) + record({10}, 0), kTen),
              AllOf(HasSubstr("d/f.bin: record 1, byte 3073: label 10"), HasSubstr("0 ... 9")));
  EXPECT_THAT(parse(record({3, 255}, 0), kHundred), HasSubstr("record 0, byte 1: label 255"));
  EXPECT_THAT(parse(record({20, 0}, 0), kHundred), HasSubstr("record 0, byte 0: label 20"));
  EXPECT_THAT(parse(record({3}, 0) + record({3}, 0).substr(1), kTen),
              AllOf(HasSubstr("d/f.bin: expected records of 3073 bytes, found a file of 6145"),
                    HasSubstr("record 1, at byte 3073, is cut off")));
  EXPECT_THAT(parse("", kTen), HasSubstr("d/f.bin: is empty"));
}

class CifarData : public testing::Test {
 protected:
  CifarData() {
    catalog.add("cifar10", cifar10_data());
    catalog.add("cifar100", cifar100_data());
    options.kind = "cifar10";
    options.path = folder.path().string();
  }

  void write_cifar10(const fs::path& to) {
    fs::create_directories(to);
    for (int i = 1; i <= 5; ++i) {
      std::string bytes;
      for (int k = 0; k < i; ++k) bytes += record({i}, 10 * i + k);
      write_file(to / concat("data_batch_", i, ".bin"), bytes);
    }
    write_file(to / "test_batch.bin", record({7}, 100) + record({8}, 101));
  }
  Datasets load() { return catalog.load(options, "", 1); }
  std::string load_failure(ExitCode code) {
    return failure(code, [&] { load(); });
  }
  std::string describe_failure(ExitCode code) {
    return failure(code, [&] { catalog.describe(options, ""); });
  }

  DataCatalog catalog;
  TempFolder folder;
  DataOptions options;
};

TEST_F(CifarData, LoadsTheBatchesInOrder) {
  write_cifar10(folder.path());
  const DataInfo info = catalog.describe(options, "");
  const Datasets sets = load();
  EXPECT_EQ(info.train_samples, 15);
  EXPECT_EQ(info.val_samples, 2);
  EXPECT_EQ(info.classes, 10);
  EXPECT_EQ(info.shape, (SampleShape{3, 32, 32}));
  EXPECT_EQ(sets.train->size(), 15);
  EXPECT_EQ(sets.val->size(), 2);
  EXPECT_EQ(sets.train->classes(), 10);
  EXPECT_EQ(sets.train->label(0), 1);
  EXPECT_EQ(sets.train->label(14), 5);
  EXPECT_EQ(sets.val->label(1), 8);
  Image image;
  sets.train->read(14, {.cut = Cut::kWhole, .height = 32, .width = 32}, image);
  EXPECT_EQ(image.pixels[0], 54);
  EXPECT_EQ(image.pixels[1], (54 + 1024) % 251);
  EXPECT_EQ(sets.mean.size(), 3u);
  EXPECT_EQ(catalog.files(options, "").size(), 6u);
}

TEST_F(CifarData, TheArchivesFolderMayLieInside) {
  write_cifar10(folder.path() / "cifar-10-batches-bin");
  EXPECT_EQ(load().train->size(), 15);
  options.kind = "cifar100";
  fs::create_directories(folder.path() / "cifar-100-binary");
  write_file(folder.path() / "cifar-100-binary/train.bin", record({1, 55}, 3));
  write_file(folder.path() / "cifar-100-binary/test.bin", record({0, 56}, 4));
  const Datasets sets = load();
  EXPECT_EQ(sets.train->classes(), 100);
  EXPECT_EQ(sets.train->label(0), 55);
  EXPECT_EQ(sets.val->label(0), 56);
}

TEST_F(CifarData, SaysWhichFileIsMissing) {
  write_cifar10(folder.path());
  fs::remove(folder.path() / "data_batch_3.bin");
  for (const std::string& message :
       {load_failure(ExitCode::kInputMissing), describe_failure(ExitCode::kInputMissing)}) {
    EXPECT_THAT(message, AllOf(HasSubstr((folder.path() / "data_batch_3.bin").string()),
                               HasSubstr("give data.path the folder")));
  }
  options.path = "/nowhere";
  EXPECT_THAT(describe_failure(ExitCode::kInputMissing), HasSubstr("/nowhere/data_batch_1.bin"));
}

TEST_F(CifarData, RefusesFilesOfAnotherLength) {
  write_cifar10(folder.path());
  write_file(folder.path() / "test_batch.bin", record({7}, 100) + "x");
  for (const std::string& message :
       {load_failure(ExitCode::kBadData), describe_failure(ExitCode::kBadData)}) {
    EXPECT_THAT(message, HasSubstr("test_batch.bin: expected records of 3073 bytes"));
  }
}

// A file that is all hole: nothing is read, and no memory taken.
TEST_F(CifarData, RefusesHugeFiles) {
  write_cifar10(folder.path());
  fs::resize_file(folder.path() / "data_batch_2.bin", uint64_t{3073} << 21);
  EXPECT_THAT(load_failure(ExitCode::kBadData), HasSubstr("legal: at most 4294967296"));
}

}  // namespace
}  // namespace largo::data
