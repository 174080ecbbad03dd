// A disk that has no room for the rest of a file, wherever that is in it.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/checkpoint/file_size_limit.h"
#include "tests/checkpoint/temporary_folder.h"
#include "trainer/base/atomic_file.h"
#include "trainer/checkpoint/store.h"

namespace largo::checkpoint {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

void save(const Store& store, int64_t step, const std::string& text) {
  const std::vector<CheckpointFile> files = {{"model", {std::as_bytes(std::span(text))}},
                                             {"state", {std::as_bytes(std::span(text))}}};
  store.write(step, 0.5, files);
  store.publish(step);
}

// Every byte of the largest file, and so of all others.
TEST(StoreDisk, NoRoomAfterAnyByteLeavesTheOlderOnes) {
  const TemporaryFolder folder;
  const Store store(folder.path());
  save(store, 1, "old weights");
  save(store, 2, "old weights");
  const std::string text = "new weights";
  const Store other(folder.path() / "other");
  save(other, 2, text);
  uint64_t most = 0;
  for (const auto& file : fs::directory_iterator(other.path_of(2))) {
    most = std::max<uint64_t>(most, file.file_size());
  }
  fs::remove_all(folder.path() / "other");
  ASSERT_GT(most, text.size());
  for (uint64_t room = 0; room < most; ++room) {
    const int64_t step = room % 2 == 0 ? 2 : 3;  // one that is replaced, and a new one
    std::string message;
    {
      const test::FileSizeLimit limit(room);
      message = error_of(ExitCode::kIo, [&] { save(store, step, text); });
    }
    EXPECT_THAT(message, AllOf(HasSubstr(concat("no checkpoint of step ", step)),
                               HasSubstr("takes 22 bytes"), HasSubstr("File too large"),
                               HasSubstr(store.path_of(step).string()),
                               HasSubstr("older checkpoints are as they were")));
    ASSERT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2) << room;
    for (const int64_t old : {1, 2}) {
      const CheckpointBytes files = read_checkpoint(store.path_of(old));
      ASSERT_EQ(files.at("model").size(), text.size()) << room;
      ASSERT_EQ(files.at("model")[0], std::byte{'o'}) << room;
    }
  }
  const test::FileSizeLimit limit(most);
  save(store, 3, text);
}

}  // namespace
}  // namespace largo::checkpoint
