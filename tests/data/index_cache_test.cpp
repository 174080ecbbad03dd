#include "trainer/data/index_cache.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/data/idx_bytes.h"

namespace largo::data {
namespace {

namespace fs = std::filesystem;

class Cache : public testing::Test {
 protected:
  fs::path data() const { return folder.path() / "data"; }
  fs::path output() const { return folder.path() / "runs"; }
  IndexCache cache() const { return {{data(), output()}, ".index"}; }

  TempFolder folder;
};

TEST_F(Cache, KeepsTheIndexOfAStamp) {
  EXPECT_FALSE(cache().load("stamp"));
  ASSERT_TRUE(cache().store("stamp", std::string("in\0dex", 6)));
  EXPECT_EQ(cache().load("stamp"), std::string("in\0dex", 6));
  EXPECT_FALSE(cache().load("stamp2"));
  EXPECT_FALSE(cache().load("stam"));
  EXPECT_FALSE(cache().load(""));
  ASSERT_TRUE(cache().store("stamp2", ""));
  EXPECT_EQ(cache().load("stamp2"), "");
  EXPECT_FALSE(cache().load("stamp"));
}

TEST_F(Cache, PrefersTheFirstFolder) {
  ASSERT_TRUE(cache().store("stamp", "index"));
  EXPECT_TRUE(fs::exists(data() / ".index"));
  EXPECT_FALSE(fs::exists(output() / ".index"));
}

// A file where the folder should be stops root, too.
TEST_F(Cache, TakesTheNextFolderThatCanBeWritten) {
  write_file(data(), "");
  ASSERT_TRUE(cache().store("stamp", "index"));
  EXPECT_TRUE(fs::exists(output() / ".index"));
  EXPECT_EQ(cache().load("stamp"), "index");
  fs::remove_all(output());
  write_file(output(), "");
  EXPECT_FALSE(cache().store("stamp", "index"));
  EXPECT_FALSE(cache().load("stamp"));
}

TEST_F(Cache, AnOldIndexInTheFirstFolderHidesNone) {
  ASSERT_TRUE(cache().store("old", "1"));
  ASSERT_TRUE(IndexCache({output()}, ".index").store("new", "2"));
  EXPECT_EQ(cache().load("new"), "2");
  EXPECT_EQ(cache().load("old"), "1");
}

TEST_F(Cache, DamagedFilesCountAsAbsent) {
  ASSERT_TRUE(cache().store("stamp", "index"));
  std::ifstream in(data() / ".index", std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(in), {});
  for (size_t size = 0; size < good.size(); ++size) {
    write_file(data() / ".index", good.substr(0, size));
    ASSERT_FALSE(cache().load("stamp")) << size;
  }
  write_file(data() / ".index", good + "x");
  EXPECT_FALSE(cache().load("stamp"));
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    write_file(data() / ".index", bad);
    ASSERT_FALSE(cache().load("stamp")) << bit;
  }
  write_file(data() / ".index", good);
  EXPECT_EQ(cache().load("stamp"), "index");
}

}  // namespace
}  // namespace largo::data
