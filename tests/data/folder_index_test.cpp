#include "trainer/data/folder_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "comm/base/error.h"
#include "tests/data/data_test_util.h"

namespace largo::data {
namespace {

using testing::ElementsAre;

FolderIndex small_index() {
  FolderIndex index;
  index.classes = {"cat", "dog"};
  index.shape = {3, 8, 9};
  index.train_root = "train";
  index.train = FolderFiles({{"cat", 0, 1}, {"dog", 1, 2}, {"dog/deep", 1, 3}});
  index.train.add(0, "1.png");
  index.train.add(2, "2.png");
  index.val = FolderFiles({{"dog", 1, 2}});
  index.val->add(0, "3.png");
  index.left_out = 4;
  index.left_out_example = "x";
  return index;
}

TEST(FolderIndex, ComesBackAsItWas) {
  const FolderIndex index = parse_folder_index(encode(small_index()));
  EXPECT_EQ(encode(index), encode(small_index()));
  EXPECT_THAT(index.classes, ElementsAre("cat", "dog"));
  EXPECT_EQ(index.shape, (SampleShape{3, 8, 9}));
  EXPECT_EQ(index.train_root, "train");
  EXPECT_EQ(index.val_root, "");
  EXPECT_EQ(index.left_out, 4u);
  EXPECT_EQ(index.left_out_example, "x");
  ASSERT_EQ(index.train.size(), 2);
  EXPECT_EQ(index.train.path(0), "cat/1.png");
  EXPECT_EQ(index.train.path(1), "dog/deep/2.png");
  EXPECT_EQ(index.train.label(1), 1);
  EXPECT_EQ(index.train.folders()[2].changed, 3u);
  ASSERT_TRUE(index.val);
  EXPECT_EQ(index.val->path(0), "dog/3.png");
}

TEST(FolderIndex, DamageIsAnErrorAndNeverMore) {
  const std::string good = encode(small_index());
  for (size_t size = 0; size < good.size(); ++size) {
    failure(ExitCode::kBadData, [&] { parse_folder_index(good.substr(0, size)); });
  }
  failure(ExitCode::kBadData, [&] { parse_folder_index(good + "x"); });
  for (size_t byte = 0; byte < good.size(); ++byte) {
    for (const char value : {'\0', '\x01', '\x7f', '\xff', '/'}) {
      std::string bad = good;
      bad[byte] = value;
      try {
        parse_folder_index(bad);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBadData);
      }
    }
  }
}

TEST(FolderIndex, FilesHaveOneOfTheFolders) {
  FolderIndex index = small_index();
  index.train.add(3, "1.png");
  failure(ExitCode::kBadData, [&] { parse_folder_index(encode(index)); });
  index = small_index();
  index.train = FolderFiles({{"cat", 2, 1}});  // there are two classes
  index.train.add(0, "1.png");
  failure(ExitCode::kBadData, [&] { parse_folder_index(encode(index)); });
}

// What comes with a data set must not lead out of data.path.
TEST(FolderIndex, PathsStayInside) {
  for (const char* name : {"", ".", "..", "a/b", "/etc/passwd"}) {
    FolderIndex index = small_index();
    index.train.add(0, name);
    failure(ExitCode::kBadData, [&] { parse_folder_index(encode(index)); });
  }
  for (const char* path : {"", "..", "a/../../b", "/etc"}) {
    FolderIndex index = small_index();
    index.train = FolderFiles({{path, 0, 1}});
    index.train.add(0, "1.png");
    failure(ExitCode::kBadData, [&] { parse_folder_index(encode(index)); });
  }
  for (const char* root : {"..", "/etc", "a/b"}) {
    FolderIndex index = small_index();
    index.train_root = root;
    failure(ExitCode::kBadData, [&] { parse_folder_index(encode(index)); });
  }
}

}  // namespace
}  // namespace largo::data
