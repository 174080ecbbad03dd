#include "trainer/data/image_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/data_test_util.h"
#include "tests/data/idx_bytes.h"
#include "tests/data/image_bytes.h"
#include "trainer/data/catalog.h"

namespace largo::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

namespace fs = std::filesystem;

std::string text(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

class ImageFolderData : public testing::Test {
 protected:
  ImageFolderData() {
    catalog.add("image_folder", image_folder_data());
    options.kind = "image_folder";
    options.path = data().string();
  }

  fs::path data() const { return folder.path() / "data"; }
  fs::path runs() const { return folder.path() / "runs"; }

  // Images are told apart by their first pixel.
  void add(const fs::path& name, uint8_t value, int64_t channels = 3, int64_t height = 8,
           int64_t width = 8) {
    fs::create_directories((data() / name).parent_path());
    Image image;
    image.resize(height, width, channels);
    std::fill(image.pixels.begin(), image.pixels.end(), value);
    const bool png = name.extension() == ".png" || name.extension() == ".PNG";
    const PngStyle style{.colour = channels == 1 ? PngColour::kGrey : PngColour::kRgb};
    const JpegStyle jpeg{.colour = channels == 1 ? JpegColour::kGrey : JpegColour::kYcc,
                         .quality = 100};
    write_file(data() / name, text(png ? png_bytes(image, style) : jpeg_bytes(image, jpeg)));
  }

  void add_two_classes(const fs::path& to = "") {
    add(to / "cat/1.png", 10);
    add(to / "cat/2.png", 11);
    add(to / "dog/1.png", 20);
    add(to / "dog/2.png", 21);
    add(to / "dog/3.png", 22);
  }

  // As if it had been a while since the last change. Each time leaves another time of change, and
  // only in the folders that did change.
  void settle() {
    const auto now = fs::file_time_type::clock::now();
    for (const auto& entry : fs::recursive_directory_iterator(data())) {
      if (!entry.is_directory() || entry.is_symlink()) continue;
      if (now - entry.last_write_time() < std::chrono::minutes(30)) {
        fs::last_write_time(entry.path(), now - std::chrono::hours(1));
      }
    }
  }

  std::string index() {
    warnings.clear();
    return catalog.index(options, {.fallback_folder = runs(), .warn = [this](const std::string& w) {
                                     warnings.push_back(w);
                                   }});
  }
  std::string index_failure(ExitCode code) {
    return failure(code, [&] { index(); });
  }
  Datasets load() { return catalog.load(options, index(), 1); }
  DataInfo describe() { return catalog.describe(options, index()); }

  std::vector<fs::path> kept_indexes() const {
    std::vector<fs::path> found;
    for (const fs::path& where : {data(), runs()}) {
      if (!fs::is_directory(where)) continue;
      for (const auto& entry : fs::directory_iterator(where)) {
        if (entry.path().filename().string().starts_with(".largo_")) found.push_back(entry.path());
      }
    }
    return found;
  }

  DataCatalog catalog;
  TempFolder folder;
  DataOptions options;
  std::vector<std::string> warnings;
};

Framing whole_of(const Dataset& set) {
  return {.cut = Cut::kWhole, .height = set.shape().height, .width = set.shape().width};
}

std::vector<int> first_values(const Dataset& set) {
  std::vector<int> values;
  Image image;
  for (int64_t i = 0; i < set.size(); ++i) {
    set.read(i, whole_of(set), image);
    values.push_back(image.pixels[0]);
  }
  return values;
}

std::vector<int> labels(const Dataset& set) {
  std::vector<int> all;
  for (int64_t i = 0; i < set.size(); ++i) all.push_back(static_cast<int>(set.label(i)));
  return all;
}

TEST_F(ImageFolderData, GoesRoundTheClasses) {
  add_two_classes();
  add("ant/x.jpg", 30);
  options.val_fraction = 0;
  options.val_path = options.path;
  const Datasets sets = load();
  EXPECT_THAT(first_values(*sets.train), ElementsAre(30, 10, 20, 11, 21, 22));
  EXPECT_THAT(labels(*sets.train), ElementsAre(0, 1, 2, 1, 2, 2));
  EXPECT_EQ(sets.train->classes(), 3);
  EXPECT_EQ(sets.train->shape(), (SampleShape{3, 8, 8}));
  EXPECT_EQ(sets.train->stored_bytes(0), static_cast<int64_t>(fs::file_size(data() / "ant/x.jpg")));
  EXPECT_THAT(sets.mean, ElementsAre(0.485, 0.456, 0.406));
  EXPECT_THAT(sets.std, ElementsAre(0.229, 0.224, 0.225));
}

TEST_F(ImageFolderData, FindsTrainingAndValidationParts) {
  add_two_classes("train");
  add("val/dog/9.png", 99);
  add("test/dog/9.png", 98);
  const Datasets sets = load();
  EXPECT_THAT(first_values(*sets.train), ElementsAre(10, 20, 11, 21, 22));
  EXPECT_THAT(first_values(*sets.val), ElementsAre(99));
  EXPECT_THAT(labels(*sets.val), ElementsAre(1));  // a class may lack validation images
  EXPECT_EQ(sets.val->classes(), 2);
  const DataInfo info = describe();
  EXPECT_EQ(info.train_samples, 5);
  EXPECT_EQ(info.val_samples, 1);
  EXPECT_EQ(info.classes, 2);
  EXPECT_EQ(info.shape, (SampleShape{3, 8, 8}));
  fs::remove_all(data() / "val");
  EXPECT_THAT(first_values(*load().val), ElementsAre(98));
  EXPECT_THAT(catalog.files(options, index()), testing::SizeIs(6));
  EXPECT_THAT(catalog.files(options, index()), testing::Contains(data() / "train/dog/3.png"));
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(ImageFolderData, TheValidationPartMayLieElsewhereOrBeHeldOut) {
  add_two_classes("a");
  add("b/cat/7.png", 77);
  options.path = (data() / "a").string();
  EXPECT_THAT(failure(ExitCode::kConfig, [&] { describe(); }), HasSubstr("data.val_fraction"));
  options.val_path = (data() / "b").string();
  EXPECT_THAT(first_values(*load().val), ElementsAre(77));
  options.val_path = "/nowhere";
  EXPECT_THAT(index_failure(ExitCode::kInputMissing), HasSubstr("data.val_path /nowhere"));
  options.val_path = "";
  options.val_fraction = 0.2;
  EXPECT_EQ(load().val->size(), 1);
}

TEST_F(ImageFolderData, AClassMayBeCalledTrain) {
  add("train/1.png", 1);
  add("plane/1.png", 2);
  options.val_path = options.path;
  EXPECT_THAT(first_values(*load().train), ElementsAre(2, 1));
}

TEST_F(ImageFolderData, ClassesOfValidationMustBeTrained) {
  add_two_classes("train");
  for (const char* name : {"val/bee", "val/cow", "val/fox"}) {
    add(fs::path(name) / "9.png", 99);
    EXPECT_THAT(index_failure(ExitCode::kBadData),
                HasSubstr(concat(name, ": is a class that the training part does not have")));
    options.val_fraction = 0.4;  // the part is then not looked at
    EXPECT_EQ(load().val->size(), 2);
    options.val_fraction = 0;
    fs::remove_all(data() / name);
  }
}

TEST_F(ImageFolderData, WhatIsMissingIsNamed) {
  EXPECT_THAT(index_failure(ExitCode::kInputMissing),
              AllOf(HasSubstr("data.path " + options.path), HasSubstr("one folder per class")));
  fs::create_directories(data());
  EXPECT_THAT(index_failure(ExitCode::kInputMissing), HasSubstr("holds no folders"));
  add_two_classes();
  fs::create_directories(data() / "bee");
  EXPECT_THAT(index_failure(ExitCode::kBadData),
              HasSubstr("data/bee: is the folder of a class and holds no .jpg"));
}

TEST_F(ImageFolderData, OtherAndHiddenFilesAreLeftOutWithOneWarning) {
  add_two_classes();
  write_file(data() / "cat/notes.txt", "x");
  write_file(data() / "cat/.1.png", "x");
  write_file(data() / "dog/4.webp", "x");
  add("dog/.ipynb_checkpoints/5.png", 5);
  write_file(data() / "readme.md", "x");
  fs::create_directories(data() / ".git");
  options.val_path = options.path;
  EXPECT_EQ(load().train->size(), 5);
  EXPECT_THAT(warnings, ElementsAre(AllOf(HasSubstr(": 8 "), HasSubstr("data/cat/.1.png"))));
}

TEST_F(ImageFolderData, AllEndingsAndDepths) {
  add("cat/b/z.JPEG", 1);
  add("cat/b/a/y.JPG", 2);
  add("cat/x.jpeg", 3);
  add("cat/c/w.PNG", 4);
  options.val_path = options.path;
  EXPECT_THAT(first_values(*load().train), ElementsAre(3, 1, 2, 4));
}

TEST_F(ImageFolderData, LinksAreFollowed) {
  add("store/1.png", 1);
  add("store/2.png", 2);
  add("sets/cat/0.png", 0);
  options.path = (data() / "sets").string();
  options.val_path = options.path;
  fs::create_directory_symlink(data() / "store", data() / "sets/dog");
  fs::create_symlink(data() / "store/2.png", data() / "sets/cat/9.png");
  EXPECT_THAT(first_values(*load().train), ElementsAre(0, 1, 2, 2));
  fs::create_directory_symlink(data() / "store", data() / "sets/fox");
  EXPECT_THAT(first_values(*load().train), ElementsAre(0, 1, 1, 2, 2, 2));
  fs::create_symlink(data() / "nothing", data() / "sets/cat/8.png");
  EXPECT_THAT(index_failure(ExitCode::kInputMissing),
              AllOf(HasSubstr("sets/cat/8.png"), HasSubstr("link to something that is not there")));
  fs::remove(data() / "sets/cat/8.png");
  fs::create_directory_symlink(data() / "sets/cat", data() / "sets/cat/again");
  EXPECT_THAT(index_failure(ExitCode::kBadData),
              AllOf(HasSubstr("sets/cat/again"), HasSubstr("link to a folder that it lies in")));
}

TEST_F(ImageFolderData, GreyOnlyWhereEveryClassBeginsGrey) {
  add("cat/1.png", 1, 1);
  add("dog/1.jpg", 2, 1);
  add("dog/2.png", 3, 3);
  options.val_path = options.path;
  Datasets sets = load();
  EXPECT_EQ(sets.train->shape(), (SampleShape{1, 8, 8}));
  EXPECT_EQ(sets.mean.size(), 1u);
  Image image;
  sets.train->read(1, whole_of(*sets.train), image);
  EXPECT_EQ(image.channels, 1);
  EXPECT_THAT(
      failure(ExitCode::kBadData, [&] { sets.train->read(2, whole_of(*sets.train), image); }),
      HasSubstr("data/dog/2.png: is a colour image"));
  add("dog/0.png", 1, 3);
  sets = load();
  EXPECT_EQ(sets.train->shape(), (SampleShape{3, 8, 8}));
  sets.train->read(1, whole_of(*sets.train), image);
  EXPECT_EQ(image.channels, 3);
}

TEST_F(ImageFolderData, OneSizeUnlessAnImageSizeIsGiven) {
  add("cat/1.png", 1);
  add("dog/1.png", 2, 3, 8, 9);
  options.val_path = options.path;
  Image image;
  EXPECT_THAT(failure(ExitCode::kBadData, [&] { first_values(*load().train); }),
              AllOf(HasSubstr("data/dog/1.png: has 8 x 9 pixels where others have 8 x 8"),
                    HasSubstr("data.image_size")));
  options.image_size = 4;
  EXPECT_EQ(describe().shape, (SampleShape{3, 4, 4}));
  EXPECT_EQ(load().train->shape(), (SampleShape{3, 0, 0}));
  options.image_size = 0;
  options.augment.resized_crop = 6;
  EXPECT_EQ(describe().shape, (SampleShape{3, 6, 6}));
  EXPECT_EQ(load().train->shape(), (SampleShape{3, 0, 0}));
}

TEST_F(ImageFolderData, ADamagedFirstImageStopsUnlessBadSamplesAreSkipped) {
  add_two_classes();
  write_file(data() / "cat/0.png", "no image");
  options.val_path = options.path;
  EXPECT_THAT(index_failure(ExitCode::kBadData), HasSubstr("data/cat/0.png"));
  options.on_bad_sample = OnBadSample::kSkip;
  EXPECT_EQ(describe().train_samples, 6);
  write_file(data() / "cat/1.png", "no image");
  write_file(data() / "cat/2.png", "no image");
  EXPECT_THAT(index_failure(ExitCode::kBadData),
              AllOf(HasSubstr("data/cat"), HasSubstr("no image that can be read")));
}

TEST_F(ImageFolderData, AFileThatVanishedIsNamed) {
  add_two_classes();
  options.val_path = options.path;
  const Datasets sets = load();
  fs::remove(data() / "dog/1.png");
  EXPECT_THAT(failure(ExitCode::kInputMissing, [&] { first_values(*sets.train); }),
              AllOf(HasSubstr("data/dog/1.png"), HasSubstr("when data.path was indexed")));
  EXPECT_EQ(sets.train->stored_bytes(1), 0);
}

TEST_F(ImageFolderData, KeepsItsIndexUntilAFolderChanges) {
  add_two_classes("train");
  add("train/dog/deep/down/4.png", 23);
  add("val/dog/9.png", 99);
  settle();
  const std::string first = index();
  ASSERT_THAT(kept_indexes(), testing::SizeIs(1));
  EXPECT_EQ(kept_indexes()[0].parent_path(), data());
  // That the kept one is used shows in what it does not know of: contents.
  add("train/cat/1.png", 10, 1);
  add("train/dog/1.png", 20, 1);
  EXPECT_EQ(index(), first);
  for (const char* changed : {"train/cat/6.png", "train/dog/deep/down/6.png", "val/dog/6.png",
                              "train/dog/deep/new/6.png", "val/cat/6.png", "train/elk/6.png"}) {
    add(changed, 60);
    settle();
    const std::string now = index();
    EXPECT_EQ(now, index());
    EXPECT_THAT(now, HasSubstr("6.png"));
    EXPECT_EQ(catalog.files(options, now).size(), catalog.files(options, first).size() + 1)
        << changed;
    fs::remove(data() / changed);
    if (fs::is_empty((data() / changed).parent_path())) {
      fs::remove((data() / changed).parent_path());
    }
    settle();
    EXPECT_EQ(catalog.files(options, index()), catalog.files(options, first)) << changed;
  }
}

TEST_F(ImageFolderData, DoesNotKeepTheIndexOfFoldersThatJustChanged) {
  add_two_classes();
  options.val_path = options.path;
  index();
  EXPECT_THAT(kept_indexes(), IsEmpty());
  settle();
  index();
  EXPECT_THAT(kept_indexes(), testing::SizeIs(1));
}

TEST_F(ImageFolderData, ADamagedIndexIsMadeAgain) {
  add_two_classes();
  options.val_path = options.path;
  settle();
  const std::string good = index();
  write_file(kept_indexes().at(0), "damaged");
  EXPECT_EQ(index(), good);
  std::ifstream in(kept_indexes().at(0), std::ios::binary);
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(in), {}), HasSubstr("largo folder index"));
}

TEST_F(ImageFolderData, LimitTakesFromAllClasses) {
  add_two_classes();
  options.val_path = options.path;
  options.limit = 2;
  EXPECT_THAT(labels(*load().train), ElementsAre(0, 1));
}

}  // namespace
}  // namespace largo::data
