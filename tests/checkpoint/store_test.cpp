#include "trainer/checkpoint/store.h"

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>

#include "tests/checkpoint/temporary_folder.h"
#include "trainer/base/atomic_file.h"
#include "trainer/base/xxh64.h"

namespace largo::checkpoint {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// As other hands would: without bringing it to disk.
void put(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

class StoreTest : public testing::Test {
 protected:
  void save(int64_t step, std::optional<double> top1 = {}, const std::string& text = "weights") {
    const std::string more = " and more";
    const std::vector<CheckpointFile> files = {
        {"model", {std::as_bytes(std::span(text)), {}, std::as_bytes(std::span(more))}},
        {"empty", {}}};
    store_.write(step, top1, files);
    store_.publish(step);
  }
  void save_and_clear_up(int64_t step, int64_t keep, std::optional<double> top1 = {}) {
    save(step, top1);
    store_.clear_up(step, keep, /*keep_best=*/true,
                    [&](const std::string& message) { warnings_.push_back(message); });
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  std::string refusal(int64_t step) const {
    return error_of(ExitCode::kBadData, [&] { read_checkpoint(store_.path_of(step)); });
  }

  TemporaryFolder folder_;
  Store store_{folder_.path()};
  std::vector<std::string> warnings_;
};

TEST_F(StoreTest, ReadsWhatWasWritten) {
  save(5, 0.5);
  const CheckpointBytes files = read_checkpoint(store_.path_of(5));
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(text_of(files.at("model")), "weights and more");
  EXPECT_TRUE(files.at("empty").empty());
  EXPECT_THAT(store_.complete(), ElementsAre(store_.path_of(5)));
}

TEST_F(StoreTest, DamageOfEveryByteIsFoundAndNamed) {
  save(5, 0.5);
  for (const char* name : {"model", "manifest.json", "DONE"}) {
    const fs::path path = store_.path_of(5) / name;
    const std::string whole = text_of(read_file(path, 1 << 20));
    for (size_t length = 0; length < whole.size(); ++length) {
      put(path, whole.substr(0, length));
      EXPECT_THAT(refusal(5), AllOf(HasSubstr(path.string()), HasSubstr(concat(length, " bytes"))));
    }
    for (size_t at = 0; at < whole.size(); ++at) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
      put(path, flipped);
      EXPECT_THAT(refusal(5), HasSubstr(path.string())) << at;
    }
    put(path, whole + "x");
    EXPECT_THAT(refusal(5), HasSubstr(path.string()));
    put(path, whole);
    read_checkpoint(store_.path_of(5));
  }
}

TEST_F(StoreTest, DamageIsPlacedWithinFourMebibytes) {
  save(5, {}, std::string(9 << 20, 'w'));
  const fs::path path = store_.path_of(5) / "model";
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(5 << 20).put('x');
  file.close();
  EXPECT_THAT(refusal(5), HasSubstr("between byte 4194304 and byte 8388607"));
}

TEST_F(StoreTest, MissingFilesAreNamedWithTheirSize) {
  save(5);
  fs::remove(store_.path_of(5) / "model");
  EXPECT_THAT(refusal(5), HasSubstr("model is missing; a file of 16 bytes is expected"));
  fs::create_directory(store_.path_of(5) / "model");
  EXPECT_THAT(refusal(5), HasSubstr("not a regular file"));
  fs::remove(store_.path_of(5) / "manifest.json");
  EXPECT_THAT(refusal(5), HasSubstr("manifest.json is missing"));
  fs::remove(store_.path_of(5) / "DONE");
  EXPECT_THAT(error_of(ExitCode::kInputMissing, [&] { read_checkpoint(store_.path_of(5)); }),
              HasSubstr("no complete checkpoint"));
  EXPECT_THAT(store_.complete(), testing::IsEmpty());
}

TEST_F(StoreTest, AnotherFormatIsRefusedAsSuch) {
  const std::string text = "largo checkpoint, version 2, whatever comes then\n";
  // Sealed as version 1 is, which is all that later versions promise.
  save(5);
  const fs::path done = store_.path_of(5) / "DONE";
  put(done, text + "xxh64 " + hex16(xxh64(std::as_bytes(std::span(text)))) + "\n");
  try {
    read_checkpoint(store_.path_of(5));
    ADD_FAILURE() << "no error";
  } catch (const UnknownVersion& error) {
    EXPECT_THAT(error.what(), HasSubstr("format version 2; this Largo reads version 1"));
  }
}

TEST_F(StoreTest, KeepsTheNewestAndTheBest) {
  save_and_clear_up(1, 2, 0.5);
  save_and_clear_up(2, 2, 0.75);
  save_and_clear_up(3, 2, 0.75);  // as good, but later
  save_and_clear_up(4, 2);        // not evaluated
  save_and_clear_up(5, 2, 0.25);
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000002", "step-00000004", "step-00000005"));
  save_and_clear_up(6, 1, 0.8);
  EXPECT_THAT(names(), ElementsAre("step-00000006"));
  EXPECT_THAT(warnings_, testing::IsEmpty());
}

TEST_F(StoreTest, SetsAsideTheLaterStepsOfACourseGivenUp) {
  save_and_clear_up(50, 2, 0.9);
  save_and_clear_up(10, 2, 0.1);
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000010", "step-00000050.abandoned"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("step 50 set aside")));
  save_and_clear_up(50, 1, 0.2);
  save_and_clear_up(11, 1, 0.3);
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000011", "step-00000050.abandoned",
                                            "step-00000050.abandoned-2"));
}

TEST_F(StoreTest, ADamagedManifestIsNotTheBest) {
  save_and_clear_up(1, 1, 0.9);
  put(store_.path_of(1) / "manifest.json", "{}");
  save_and_clear_up(2, 1, 0.1);
  EXPECT_THAT(names(), ElementsAre("step-00000002"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("manifest.json")));
}

// A file system of `bytes` on a folder, where this process may mount one.
class SmallDisk {
 public:
  SmallDisk(fs::path folder, const char* options) : folder_(std::move(folder)) {
    is_there_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, options) == 0;
  }
  ~SmallDisk() {
    if (is_there_) ::umount(folder_.c_str());
  }
  bool is_there() const { return is_there_; }
  void make_read_only() {
    ASSERT_EQ(::mount("", folder_.c_str(), "", MS_REMOUNT | MS_RDONLY, nullptr), 0);
  }

 private:
  fs::path folder_;
  bool is_there_ = false;
};

TEST_F(StoreTest, AFullOrReadOnlyDiskIsNamedAndTheOlderCheckpointStays) {
  SmallDisk disk(folder_.path(), "size=256k");
  if (!disk.is_there()) GTEST_SKIP() << "mounting a file system is not allowed here";
  save(1);
  const std::string large(300 << 10, 'x');
  const std::string full = error_of(ExitCode::kIo, [&] { save(2, {}, large); });
  EXPECT_THAT(full, AllOf(HasSubstr("No space left on device"), HasSubstr("step 2"),
                          HasSubstr("takes 307209 bytes"), HasSubstr("step-00000002.tmp-"),
                          HasSubstr("older checkpoints are as they were")));
  EXPECT_THAT(names(), ElementsAre("step-00000001"));
  save(2);  // where there is room again
  disk.make_read_only();
  EXPECT_THAT(error_of(ExitCode::kIo, [&] { save(3); }), HasSubstr("Read-only file system"));
  EXPECT_EQ(read_checkpoint(store_.path_of(2)).size(), 2U);
  EXPECT_EQ(read_checkpoint(store_.path_of(1)).size(), 2U);
}

// LARGO_TEST_KILLS of them in the long set.
int kills() {
  const char* given = std::getenv("LARGO_TEST_KILLS");
  return given == nullptr ? 60 : std::atoi(given);
}

// A kill at any place of publish(): nothing but the old one has DONE until the new one has.
TEST_F(StoreTest, TheOneBeingReplacedStaysUntilTheNewOneIsThere) {
  save(5, {}, "old");
  const fs::path replaced = store_.path_of(5).string() + ".tmp-replaced-17";
  fs::rename(store_.path_of(5), replaced);
  EXPECT_THAT(store_.complete(), ElementsAre(replaced));
  fs::create_directory(store_.path_of(5));
  put(store_.path_of(5) / "DONE.next", "");
  EXPECT_THAT(store_.complete(), ElementsAre(replaced));
  EXPECT_EQ(text_of(read_checkpoint(replaced).at("model")), "old and more");
  save_and_clear_up(6, 2);
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000005", "step-00000006"));
  EXPECT_EQ(text_of(read_checkpoint(store_.path_of(5)).at("model")), "old and more");

  fs::remove_all(folder_.path());
  fs::create_directory(folder_.path());
  save(5, {}, "old");
  fs::rename(store_.path_of(5), replaced);
  save_and_clear_up(4, 1);  // of a course that went back to before it
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000004", "step-00000005.abandoned"));

  save(5, {}, "old");
  fs::rename(store_.path_of(5), replaced);
  save(5, {}, "new");
  EXPECT_THAT(store_.complete(), ElementsAre(store_.path_of(5), store_.path_of(4)));
  EXPECT_EQ(text_of(read_checkpoint(store_.path_of(5)).at("model")), "new and more");
}

// Of two killed processes: the first while it removed what it had set aside, the second while it
// replaced the checkpoint anew.
TEST_F(StoreTest, ALeftoverIsNotTakenForTheOneSetAside) {
  save(5, {}, "old");
  const fs::path leftover = store_.path_of(5).string() + ".tmp-replaced-17";
  fs::create_directory(leftover);
  fs::copy_file(store_.path_of(5) / "DONE", leftover / "DONE");
  EXPECT_THAT(store_.complete(), ElementsAre(store_.path_of(5)));
  save(5, {}, "new");
  EXPECT_FALSE(fs::exists(leftover));
}

TEST_F(StoreTest, RemovesRemainsAndNothingElse) {
  save(5, {}, "old");
  const fs::path replaced = store_.path_of(5).string() + ".tmp-replaced-17";
  fs::rename(store_.path_of(5), replaced);
  save(4);
  for (const char* remains : {"step-00000003", "step-00000005", "step-00000006.tmp-17"}) {
    fs::create_directory(folder_.path() / remains);
    put(folder_.path() / remains / "model", "half");
  }
  fs::create_directory(folder_.path() / "notes");  // somebody's own
  store_.remove_remains([](const std::string& message) { ADD_FAILURE() << message; });
  EXPECT_THAT(names(),
              UnorderedElementsAre("step-00000004", "step-00000005.tmp-replaced-17", "notes"));
  EXPECT_THAT(store_.complete(), ElementsAre(replaced, store_.path_of(4)));

  const Store nowhere(folder_.path() / "nowhere");
  std::string warning;
  nowhere.remove_remains([&](const std::string& message) { warning = message; });
  EXPECT_THAT(warning, HasSubstr("nowhere"));
}

// A child that saves one step again and again leaves it whole, wherever it is killed.
TEST_F(StoreTest, AKillAnywhereInReplacingLeavesOneWhole) {
  save(1);
  std::mt19937 random(11);
  int set_aside = 0;
  for (int trial = 0; trial < kills(); ++trial) {
    const pid_t child = ::fork();
    if (child == 0) {
      while (true) {
        save(1);
        store_.clear_up(1, 1, true, [](const std::string&) {});
      }
    }
    ::usleep(std::uniform_int_distribution<unsigned>(500, 4000)(random));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const std::vector<fs::path> complete = store_.complete();
    ASSERT_EQ(complete.size(), 1U) << trial;
    EXPECT_EQ(read_checkpoint(complete.front()).size(), 2U) << complete.front();
    set_aside += complete.front() == store_.path_of(1) ? 0 : 1;
  }
  RecordProperty("kills_inside_a_replacement", set_aside);
}

// The child saves step after step, and is killed somewhere in it. What it reported as saved is
// there, and the newest checkpoint can always be read.
TEST_F(StoreTest, AKillAnywhereLeavesTheNewestCheckpointWhole) {
  std::mt19937 random(7);
  int64_t last = 0;
  int inside = 0;
  for (int trial = 0; trial < kills(); ++trial) {
    std::array<int, 2> reports{};
    ASSERT_EQ(::pipe(reports.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const std::string text(100000, 'w');
      for (int64_t step = last + 1;; ++step) {
        save(step, 0.1, text);
        if (::write(reports[1], &step, sizeof step) != sizeof step) ::_exit(1);
        store_.clear_up(step, 2, true, [](const std::string&) {});
      }
    }
    ::close(reports[1]);
    int64_t reported = 0;  // waits for the first save: the kill falls into the next ones
    ASSERT_EQ(::read(reports[0], &reported, sizeof reported), sizeof reported);
    ::usleep(std::uniform_int_distribution<unsigned>(0, 4000)(random));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    for (int64_t step = 0; ::read(reports[0], &step, sizeof step) == sizeof step;) reported = step;
    ::close(reports[0]);
    const std::vector<fs::path> complete = store_.complete();
    ASSERT_FALSE(complete.empty()) << trial;
    EXPECT_GE(complete.front(), store_.path_of(reported));
    for (const fs::path& path : complete) EXPECT_EQ(read_checkpoint(path).size(), 2U) << path;
    last = reported + 1;
    for (const std::string& name : names()) {
      if (name.find(".tmp-") != std::string::npos) {
        ++inside;
        break;
      }
    }
  }
  RecordProperty("kills_inside_a_save", inside);
  EXPECT_GT(inside, kills() / 10);
}

}  // namespace
}  // namespace largo::checkpoint
