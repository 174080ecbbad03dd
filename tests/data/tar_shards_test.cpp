#include "trainer/data/tar_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/idx_bytes.h"
#include "tests/data/image_bytes.h"
#include "tests/data/tar_bytes.h"
#include "trainer/data/catalog.h"
#include "trainer/data/tar_scan.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

namespace fs = std::filesystem;

std::string png(int64_t height, int64_t width, int64_t channels, uint32_t seed = 1) {
  const std::vector<uint8_t> bytes =
      png_bytes(make_photo(height, width, channels, seed),
                {.colour = channels == 1 ? PngColour::kGrey : PngColour::kRgb});
  return {bytes.begin(), bytes.end()};
}

std::string sample(const std::string& key, const std::string& image, int64_t label) {
  return tar_member(key + ".png", image) + tar_member(key + ".cls", std::to_string(label));
}

// Three shards of which the middle one is empty: samples "0" … "4", labels 0 … 4.
class TarShardsTest : public testing::Test {
 protected:
  TarShardsTest() {
    options.kind = "tar_shards";
    options.path = (folder.path() / "train-{0..2}.tar").string();
    write("train-0.tar", labelled(0) + labelled(1) + labelled(2) + tar_end());
    write("train-1.tar", tar_end());
    write("train-2.tar", labelled(3) + labelled(4) + tar_end());
  }

  static std::string labelled(int64_t number, int64_t channels = 3) {
    return sample(std::to_string(number), png(6, 5, channels, static_cast<uint32_t>(number)),
                  number);
  }

  void write(const std::string& name, const std::string& bytes) {
    write_file(folder.path() / name, bytes);
  }

  std::string make_index() {
    warnings.clear();
    return kind.index(options, context);
  }
  DataInfo describe() { return kind.describe(options, make_index()); }
  Datasets load() { return kind.load(options, make_index(), 1); }

  std::string failure(ExitCode code, const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return "";
  }
  std::string index_failure(ExitCode code) {
    return failure(code, [&] { make_index(); });
  }

  std::vector<std::string> kept_files(const fs::path& where) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(where)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(".largo")) names.push_back(name);
    }
    return names;
  }

  TempFolder folder;
  TempFolder fallback;
  std::vector<std::string> warnings;
  IndexContext context{.fallback_folder = fallback.path(),
                       .warn = [this](const std::string& m) { warnings.push_back(m); }};
  DataOptions options;
  DataKind kind = tar_shards_data();
};

TEST_F(TarShardsTest, DescribesItself) {
  const DataInfo info = describe();
  EXPECT_EQ(info.train_samples, 5);
  EXPECT_FALSE(info.val_samples);
  EXPECT_EQ(info.shape, (SampleShape{3, 6, 5}));
  EXPECT_EQ(info.classes, 5);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(TarShardsTest, ReadsSamplesInTheOrderOfTheShards) {
  const Datasets sets = load();
  const Dataset& train = *sets.train;
  ASSERT_EQ(train.size(), 5);
  EXPECT_EQ(sets.val, nullptr);
  std::vector<int64_t> shards;
  Image image;
  for (const int64_t index : {4, 0, 3, 1, 2}) {
    train.read(index, {.height = 6, .width = 5}, image);
    const Image expected = make_photo(6, 5, 3, static_cast<uint32_t>(index));
    EXPECT_TRUE(std::equal(expected.pixels.begin(), expected.pixels.begin() + 6 * 5 * 3,
                           image.pixels.begin()))
        << index;
    EXPECT_EQ(train.label(index), index);
    EXPECT_EQ(train.stored_bytes(index),
              static_cast<int64_t>(png(6, 5, 3, static_cast<uint32_t>(index)).size()));
  }
  for (int64_t index = 0; index < 5; ++index) shards.push_back(train.shard(index));
  EXPECT_THAT(shards, ElementsAre(0, 0, 0, 2, 2));
  EXPECT_THAT(sets.mean, SizeIs(3));
}

TEST_F(TarShardsTest, ReadsFromManyThreads) {
  const Datasets sets = load();
  std::vector<std::jthread> threads;
  for (int64_t start = 0; start < 4; ++start) {
    threads.emplace_back([&sets, start] {
      Image image;
      for (int64_t i = 0; i < 50; ++i) {
        const int64_t index = (start + 2 * i) % 5;
        sets.train->read(index, {.height = 6, .width = 5}, image);
        EXPECT_EQ(image.pixels[0], make_photo(6, 5, 3, static_cast<uint32_t>(index)).pixels[0]);
      }
    });
  }
}

TEST_F(TarShardsTest, HasAValidationPartOfItsOwn) {
  options.val_path = (folder.path() / "val.tar").string();
  write("val.tar", sample("v", png(9, 9, 3), 7) + tar_end());
  const DataInfo info = describe();
  EXPECT_EQ(info.train_samples, 5);
  EXPECT_EQ(info.val_samples, 1);
  EXPECT_EQ(info.classes, 8);
  EXPECT_EQ(info.shape, (SampleShape{3, 6, 5}));
  const Datasets sets = load();
  EXPECT_EQ(sets.val->label(0), 7);
  EXPECT_EQ(sets.train->classes(), 8);
  EXPECT_EQ(sets.val->classes(), 8);
  const fs::path at = folder.path();
  EXPECT_THAT(kind.files(options, make_index()), ElementsAre(at / "train-0.tar", at / "train-1.tar",
                                                             at / "train-2.tar", at / "val.tar"));
}

TEST_F(TarShardsTest, IsGreyOnlyWhereAllIs) {
  write("train-0.tar", labelled(0, 1) + tar_end());
  write("train-2.tar", labelled(3, 1) + tar_end());
  EXPECT_EQ(describe().shape, (SampleShape{1, 6, 5}));
  EXPECT_THAT(load().mean, SizeIs(1));
  options.val_path = (folder.path() / "val.tar").string();
  write("val.tar", labelled(1) + tar_end());
  EXPECT_EQ(describe().shape.channels, 3);
  const Datasets sets = load();
  EXPECT_EQ(sets.train->shape().channels, 3);
  EXPECT_EQ(sets.val->shape().channels, 3);
  options.val_path.clear();
  for (const int64_t first : {1, 3}) {
    write("train-0.tar", labelled(0, first) + tar_end());
    write("train-2.tar", labelled(3, 4 - first) + tar_end());
    EXPECT_EQ(describe().shape.channels, 3);
  }
}

TEST_F(TarShardsTest, HasNoSizeWhereShardsDiffer) {
  write("train-2.tar", sample("x", png(6, 6, 3), 1) + tar_end());
  EXPECT_EQ(describe().shape, (SampleShape{3, 0, 0}));
}

TEST_F(TarShardsTest, TakesClassesFromTheOptions) {
  options.classes = 100;
  EXPECT_EQ(describe().classes, 100);
  options.classes = 4;
  EXPECT_THAT(index_failure(ExitCode::kBadData),
              AllOf(HasSubstr("train-2.tar: sample 4 at byte 2048: 4.cls at byte 3072"),
                    HasSubstr("says label 4; legal: 0 to 3")));
}

TEST_F(TarShardsTest, KeepsItsIndexBesideTheShards) {
  const std::string index = make_index();
  ASSERT_THAT(kept_files(folder.path()), SizeIs(1));
  EXPECT_THAT(kept_files(fallback.path()), IsEmpty());

  // Were the shards read again, these would be noticed.
  struct stat before {};
  ASSERT_EQ(stat((folder.path() / "train-0.tar").c_str(), &before), 0);
  const fs::path shard = folder.path() / "train-0.tar";
  const auto changed = fs::last_write_time(shard);
  write("train-0.tar", std::string(static_cast<size_t>(before.st_size), 'x'));
  fs::last_write_time(shard, changed);
  EXPECT_EQ(make_index(), index);

  fs::last_write_time(shard, changed + std::chrono::seconds(1));
  EXPECT_THAT(index_failure(ExitCode::kBadData), HasSubstr("train-0.tar"));
}

TEST_F(TarShardsTest, MakesADamagedIndexAgain) {
  const std::string index = make_index();
  const fs::path file = folder.path() / kept_files(folder.path()).front();
  for (const auto size : {fs::file_size(file) - 1, uintmax_t{0}}) {
    fs::resize_file(file, size);
    EXPECT_EQ(make_index(), index);
  }
}

TEST_F(TarShardsTest, IndexesOfDifferentSetsLieSideBySide) {
  const std::string all = make_index();
  options.path = (folder.path() / "train-2.tar").string();
  EXPECT_EQ(describe().train_samples, 2);
  EXPECT_THAT(kept_files(folder.path()), SizeIs(2));
  EXPECT_THAT(failure(ExitCode::kBadData, [&] { kind.load(options, all, 1); }),
              HasSubstr("other shards than data.path"));
}

TEST_F(TarShardsTest, DamagedIndexBytesAreErrors) {
  const std::string index = make_index();
  for (size_t length = 0; length < index.size(); ++length) {
    failure(ExitCode::kBadData, [&] { kind.describe(options, index.substr(0, length)); });
  }
}

TEST_F(TarShardsTest, ErrorsNameTheMissingShard) {
  fs::remove(folder.path() / "train-1.tar");
  EXPECT_THAT(index_failure(ExitCode::kInputMissing),
              AllOf(HasSubstr("train-1.tar: No such file"), HasSubstr("check data.path")));
  options.path = folder.path().string();
  EXPECT_THAT(index_failure(ExitCode::kConfig),
              AllOf(HasSubstr("data.path"), HasSubstr("is a folder"), HasSubstr("{0000..0146}")));
}

TEST_F(TarShardsTest, EmptyShardsOnlyAreAnError) {
  options.path = (folder.path() / "train-1.tar").string();
  EXPECT_THAT(index_failure(ExitCode::kBadData),
              AllOf(HasSubstr("train-1.tar: no samples"), HasSubstr(".cls")));
}

TEST_F(TarShardsTest, WarnsOfMissingEndMarks) {
  write("train-2.tar", labelled(3) + labelled(4));
  EXPECT_EQ(describe().train_samples, 5);
  EXPECT_THAT(warnings, ElementsAre(AllOf(HasSubstr("1 of 3 shards have no end mark"),
                                          HasSubstr("train-2.tar"))));
}

TEST_F(TarShardsTest, CorruptImagesAreNamedWhenTheyAreRead) {
  std::string bytes = labelled(0) + labelled(1) + tar_end();
  std::fill(bytes.begin() + 2048 + 562, bytes.begin() + 2048 + 580, 'x');
  write("train-0.tar", bytes);
  const Datasets sets = load();
  Image image;
  sets.train->read(0, {.height = 6, .width = 5}, image);
  EXPECT_THAT(
      failure(ExitCode::kBadData, [&] { sets.train->read(1, {.height = 6, .width = 5}, image); }),
      HasSubstr("train-0.tar: sample 1 at byte 2048: "));
}

TEST_F(TarShardsTest, ShardsThatChangeAfterIndexingAreErrors) {
  const Datasets sets = load();
  write("train-2.tar", labelled(3) + tar_end());
  Image image;
  EXPECT_THAT(
      failure(ExitCode::kBadData, [&] { sets.train->read(3, {.height = 6, .width = 5}, image); }),
      HasSubstr("when it was indexed"));
}

TEST_F(TarShardsTest, BadSamplesAreErrorsUnlessSkipped) {
  write("train-0.tar", labelled(0) + tar_member("b.png", png(6, 5, 3)) + tar_end());
  EXPECT_THAT(index_failure(ExitCode::kBadData), HasSubstr("train-0.tar: sample b at byte 2048"));
  options.on_bad_sample = OnBadSample::kSkip;
  EXPECT_THAT(index_failure(ExitCode::kBadData),
              AllOf(HasSubstr("1 of 4 samples are bad"), HasSubstr("at most 0.1 %"),
                    HasSubstr("train-0.tar: sample b at byte 2048")));
}

// One of 999 is above the limit, two of 2000 are at it.
TEST_F(TarShardsTest, SkipsFewBadSamples) {
  const std::string image = png(2, 2, 3);
  std::string good;
  for (int i = 0; i < 998; ++i) good += sample(std::to_string(i), image, 1);
  const std::string bad = tar_member("bad.png", image) + tar_member("bad.cls", "x");
  options.path = (folder.path() / "{a,b}.tar").string();
  options.on_bad_sample = OnBadSample::kSkip;
  write("a.tar", good + bad + tar_end());
  write("b.tar", tar_end());
  EXPECT_THAT(index_failure(ExitCode::kBadData), HasSubstr("1 of 999 samples are bad"));
  // An unreadable first image is a bad sample, too.
  write("b.tar", sample("broken", "no image", 1) + good + sample("last", image, 2) +
                     sample("more", image, 3) + tar_end());
  for (const bool again : {false, true}) {
    const DataInfo info = describe();
    EXPECT_EQ(info.train_samples, 1998);
    EXPECT_EQ(info.shape, (SampleShape{3, 2, 2}));
    ASSERT_THAT(warnings, SizeIs(again ? 1 : 3));
    EXPECT_THAT(warnings.back(), AllOf(HasSubstr("2 bad samples of data.path"),
                                       HasSubstr("are left out, 1998 remain")));
    if (again) continue;
    EXPECT_THAT(warnings[0], AllOf(HasSubstr("a.tar: sample bad at byte"), HasSubstr("\"x\"")));
    EXPECT_THAT(warnings[1], HasSubstr("b.tar: sample broken at byte 0: "));
  }
  EXPECT_EQ(load().train->label(1996), 2);
  options.on_bad_sample = OnBadSample::kError;  // the index without the bad ones does not count
  EXPECT_THAT(index_failure(ExitCode::kBadData), HasSubstr("a.tar: sample bad at byte"));
}

TEST_F(TarShardsTest, BrokenArchivesAreNeverSkipped) {
  options.on_bad_sample = OnBadSample::kSkip;
  write("train-2.tar", labelled(3) + "x");
  EXPECT_THAT(index_failure(ExitCode::kBadData), HasSubstr("train-2.tar: byte 2048: "));
  write("train-2.tar", gzip(labelled(3)));
  EXPECT_THAT(index_failure(ExitCode::kBadData), HasSubstr("gunzip"));
}

TEST_F(TarShardsTest, ReportsTheFirstErrorWhateverTheThreadsDo) {
  std::vector<fs::path> shards;
  for (int i = 0; i < 40; ++i) {
    shards.push_back(folder.path() / ("s" + std::to_string(i)));
    write_file(shards.back(), i < 20 ? labelled(1) + tar_end() : concat("broken", i));
  }
  for (int repetition = 0; repetition < 20; ++repetition) {
    EXPECT_THAT(failure(ExitCode::kBadData,
                        [&] { scan_shards(shards, {.threads = 5}, [](const std::string&) {}); }),
                HasSubstr("/s20: "));
  }
}

}  // namespace
}  // namespace largo::data
