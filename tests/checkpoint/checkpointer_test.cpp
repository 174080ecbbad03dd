#include "trainer/checkpoint/checkpointer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <atomic>
#include <fstream>
#include <numeric>

#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/checkpoint/file_size_limit.h"
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

State state_of(double value) {
  return {.model = {{"weight", at::full({2, 3}, value)}},
          .optimizer = {{"weight.momentum", at::full({2, 3}, -value)}},
          .json = concat("{\"value\": ", value, '}')};
}

// One rank, and what a test asks of its folder.
// With the writer waited for.
void save(Checkpointer& checkpointer, int64_t step, const State& state) {
  checkpointer.save(step, state);
  checkpointer.finish();
}

class CheckpointerTest : public testing::Test {
 protected:
  void save_new(int64_t step, double value, int64_t keep = 2) {
    Checkpointer checkpointer({.keep = keep}, directory_, self_, log_);
    save(checkpointer, step, state_of(value));
  }
  std::optional<fs::path> latest() const {
    const std::vector<fs::path> paths = Store(directory_).complete();
    return paths.empty() ? std::nullopt : std::optional(paths.front());
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  std::string log_text() {
    std::fflush(log_file_);
    std::rewind(log_file_);
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), log_file_));
    return text;
  }
  ~CheckpointerTest() override { std::fclose(log_file_); }

  TemporaryFolder folder_;
  fs::path directory_ = folder_.path() / "checkpoints";
  std::FILE* log_file_ = std::tmpfile();
  Log log_{log_file_};
  comm::SelfCommunicator self_;
};

TEST_F(CheckpointerTest, LoadsWhatItSaved) {
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  EXPECT_EQ(latest(), std::nullopt);
  save(checkpointer, 500, state_of(1.5));
  EXPECT_EQ(latest(), directory_ / "step-00000500");
  const LoadedState loaded = checkpointer.load(*latest());
  EXPECT_TRUE(at::equal(loaded.model.at("weight"), at::full({2, 3}, 1.5)));
  EXPECT_TRUE(at::equal(loaded.optimizer.at("weight.momentum"), at::full({2, 3}, -1.5)));
  EXPECT_EQ(loaded.json, "{\"value\": 1.5}");
}

TEST_F(CheckpointerTest, KeepsTheNewest) {
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  for (const int64_t step : {1, 20, 300}) save(checkpointer, step, state_of(1));
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000020", "step-00000300"));
  save_new(100000000, 1, 1);
  EXPECT_THAT(names(), ElementsAre("step-100000000"));
}

TEST_F(CheckpointerTest, WithoutDoneThereIsNoCheckpoint) {
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  save(checkpointer, 1, state_of(1));
  save(checkpointer, 2, state_of(2));
  fs::remove(directory_ / "step-00000002" / "DONE");  // as if killed before it was written
  EXPECT_EQ(latest(), directory_ / "step-00000001");
  EXPECT_THAT(
      error_of(ExitCode::kInputMissing, [&] { checkpointer.load(directory_ / "step-00000002"); }),
      HasSubstr("DONE"));
  save(checkpointer, 3, state_of(3));
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000001", "step-00000003"));
}

TEST_F(CheckpointerTest, RemovesWhatKilledRunsLeft) {
  fs::create_directories(directory_ / "step-00000007.tmp-123");
  fs::create_directories(directory_ / "step-00000007.tmp-replaced-123");
  fs::create_directories(directory_ / "notes");  // somebody else's
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  EXPECT_EQ(latest(), std::nullopt);
  save(checkpointer, 8, state_of(1));
  EXPECT_THAT(names(), UnorderedElementsAre("notes", "step-00000008"));
}

TEST_F(CheckpointerTest, ReplacesTheSameStep) {
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  save(checkpointer, 5, state_of(1));
  save(checkpointer, 5, state_of(2));
  EXPECT_THAT(names(), ElementsAre("step-00000005"));
  EXPECT_EQ(checkpointer.load(*latest()).json, "{\"value\": 2}");
}

TEST_F(CheckpointerTest, SetsAsideTheLaterStepsOfACourseGivenUp) {
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  save(checkpointer, 50, state_of(1));
  save(checkpointer, 10, state_of(2));
  EXPECT_EQ(latest(), directory_ / "step-00000010");
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000010", "step-00000050.abandoned"));
  EXPECT_THAT(log_text(), HasSubstr("step 50 set aside"));
}

TEST_F(CheckpointerTest, AFailedSaveLeavesTheOlderOnes) {
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  save(checkpointer, 1, state_of(1));
  for (const int64_t step : {1, 2}) {
    const test::FileSizeLimit limit(16);
    EXPECT_THAT(error_of(ExitCode::kIo, [&] { save(checkpointer, step, state_of(2)); }),
                AllOf(HasSubstr("File too large"), HasSubstr(concat("step ", step)),
                      HasSubstr("older checkpoints are as they were")));
  }
  EXPECT_THAT(names(), ElementsAre("step-00000001"));
  EXPECT_EQ(checkpointer.load(*latest()).json, "{\"value\": 1}");
}

TEST_F(CheckpointerTest, WritesTheStateAsItWasWhileTrainingGoesOn) {
  Checkpointer checkpointer({.keep = 9}, directory_, self_, log_);
  const at::Tensor weight = at::zeros({300, 1000});
  const at::Tensor image = at::zeros({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  for (int64_t step = 1; step <= 5; ++step) {
    weight.fill_(step);
    image.fill_(step);
    image[0][1][2][3] = 7;
    checkpointer.save(step, {.model = {{"weight", weight}, {"image", image}},
                             .optimizer = {},
                             .json = std::to_string(step)});
    weight.fill_(-1);
    image.fill_(-1);
  }
  checkpointer.finish();
  for (int64_t step = 1; step <= 5; ++step) {
    const LoadedState loaded = checkpointer.load(Store(directory_).path_of(step));
    EXPECT_TRUE(at::equal(loaded.model.at("weight"), at::full({300, 1000}, double(step))));
    EXPECT_EQ(loaded.model.at("image")[0][1][2][3].item<double>(), 7);
    EXPECT_EQ(loaded.model.at("image")[1][1][2][3].item<double>(), step);
    EXPECT_EQ(loaded.json, std::to_string(step));
  }
}

TEST_F(CheckpointerTest, TellsOnceOfWhatIsComplete) {
  Checkpointer checkpointer({.keep = 9}, directory_, self_, log_);
  std::vector<int64_t> told;
  const auto take = [&] {
    while (const auto written = checkpointer.take_written()) {
      EXPECT_TRUE(fs::exists(written->path / "DONE"));
      EXPECT_EQ(written->path, Store(directory_).path_of(written->step));
      told.push_back(written->step);
    }
  };
  take();
  for (int64_t step = 1; step <= 20; ++step) {
    checkpointer.save(step, state_of(1));
    take();
  }
  checkpointer.finish();
  take();
  std::vector<int64_t> all(20);
  std::iota(all.begin(), all.end(), 1);
  EXPECT_EQ(told, all);
}

TEST_F(CheckpointerTest, WhatTheWriterFailedWithComesWithTheNextSaveOrAtTheEnd) {
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  save(checkpointer, 1, state_of(1));
  EXPECT_EQ(checkpointer.take_written()->step, 1);
  {
    const test::FileSizeLimit limit(4096);  // which the log keeps below
    const State large = {.model = {{"weight", at::zeros({2000})}}, .optimizer = {}, .json = "{}"};
    checkpointer.save(2, large);
    error_of(ExitCode::kIo, [&] { checkpointer.save(3, large); });
    checkpointer.finish();  // the error was told; nothing is under way
    checkpointer.save(4, large);
    checkpointer.wait_for_writer();
  }
  EXPECT_THAT(log_text(), HasSubstr("no checkpoint of step 4"));
  EXPECT_FALSE(checkpointer.take_written());
  EXPECT_THAT(names(), ElementsAre("step-00000001"));
}

// As NCCL's: once a sum has failed every call throws.
class FailedCommunicator final : public comm::Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  bool is_asynchronous() const override { return false; }
  at::Tensor allocate(int64_t, at::ScalarType) override { failed(); }
  comm::Work all_reduce(at::Tensor, comm::ReduceOp) override { failed(); }
  void broadcast(at::Tensor, int) override { failed(); }
  at::Tensor all_gather(const at::Tensor&) override { failed(); }
  void barrier() override { failed(); }
  std::unique_ptr<comm::Communicator> split(int, int) override { failed(); }

 private:
  [[noreturn]] static void failed() { fail(ExitCode::kUnavailable, "#7 all_reduce failed"); }
};

TEST_F(CheckpointerTest, WhatAFailedCollectiveLeftIsNoCheckpoint) {
  save_new(5, 1);
  save_new(6, 2);
  FailedCommunicator failed;
  Checkpointer checkpointer({.keep = 2}, directory_, failed, log_);
  for (const int64_t step : {6, 7}) {  // the same step too
    error_of(ExitCode::kUnavailable, [&] { save(checkpointer, step, state_of(-1)); });
    EXPECT_EQ(latest(), directory_ / "step-00000006");
  }
  EXPECT_EQ(text_of(read_checkpoint(directory_ / "step-00000006").at("state.json")),
            "{\"value\": 2}");
  save_new(8, 3);
  EXPECT_THAT(names(), UnorderedElementsAre("step-00000006", "step-00000008"));
}

TEST_F(CheckpointerTest, SaysWhyItCannotWrite) {
  write_file_atomically(folder_.path() / "file", "");
  Checkpointer nowhere({}, folder_.path() / "file" / "checkpoints", self_, log_);
  EXPECT_THAT(error_of(ExitCode::kIo, [&] { save(nowhere, 4, state_of(4)); }),
              HasSubstr("Not a directory"));
}

TEST_F(CheckpointerTest, CorruptedFilesAreBadData) {
  Checkpointer checkpointer({.keep = 2}, directory_, self_, log_);
  save(checkpointer, 1, state_of(1));
  const fs::path model = *latest() / "model.safetensors";
  fs::resize_file(model, fs::file_size(model) - 1);
  EXPECT_THAT(error_of(ExitCode::kBadData, [&] { checkpointer.load(*latest()); }),
              HasSubstr(model.string()));
  fs::remove(model);
  EXPECT_THAT(error_of(ExitCode::kBadData, [&] { checkpointer.load(*latest()); }),
              HasSubstr(model.string()));
}

TEST_F(CheckpointerTest, TheNewestUndamagedOneIsLoadedWithAWarning) {
  Checkpointer checkpointer({.keep = 3}, directory_, self_, log_);
  EXPECT_FALSE(checkpointer.load_newest());
  for (const int64_t step : {1, 2, 3})
    save(checkpointer, step, state_of(static_cast<double>(step)));
  EXPECT_EQ(checkpointer.load_newest()->json, "{\"value\": 3}");
  EXPECT_EQ(log_text(), "");
  fs::create_directory(directory_ / "step-00000000");  // a run was killed while it removed this
  EXPECT_EQ(checkpointer.load_newest()->json, "{\"value\": 3}");
  EXPECT_FALSE(fs::exists(directory_ / "step-00000000"));
  fs::resize_file(directory_ / "step-00000003" / "optimizer.safetensors", 10);
  fs::remove(directory_ / "step-00000002" / "state.json");
  const auto loaded = checkpointer.load_newest();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->json, "{\"value\": 1}");
  EXPECT_EQ(loaded->path, directory_ / "step-00000001");
  const std::string warning = log_text();
  for (const std::string words : {"passed over", "step-00000003/optimizer.safetensors has 10 bytes",
                                  "step-00000002/state.json", "goes on from", "step-00000001"}) {
    EXPECT_THAT(warning, HasSubstr(words));
  }
  // Never in silence: without a checkpoint that can be read, training does not start from nothing.
  fs::remove(directory_ / "step-00000001" / "manifest.json");
  EXPECT_THAT(error_of(ExitCode::kBadData, [&] { checkpointer.load_newest(); }),
              HasSubstr("every checkpoint is damaged"));
}

TEST_F(CheckpointerTest, AnotherFormatIsNotPassedOver) {
  Checkpointer checkpointer({.keep = 3}, directory_, self_, log_);
  for (const int64_t step : {1, 2}) save(checkpointer, step, state_of(1));
  const std::string text = "largo checkpoint, version 7, step 2\n";
  write_file(directory_ / "step-00000002" / "DONE",
             concat(text, "xxh64 ", hex16(xxh64(std::as_bytes(std::span(text)))), '\n'));
  EXPECT_THAT(error_of(ExitCode::kBadData, [&] { checkpointer.load_newest(); }),
              HasSubstr("format version 7"));
}

TEST(CheckpointerRanks, RankZeroWritesAndAllRanksRead) {
  const TemporaryFolder folder;
  comm::spawn_ranks(3, [&](comm::Communicator& comm) {
    Log log;
    log.set_rank(comm.rank(), comm.size(), "test");
    Checkpointer checkpointer({.keep = 1}, folder.path() / "checkpoints", comm, log);
    EXPECT_FALSE(checkpointer.load_newest());
    // Only rank 0's state counts.
    save(checkpointer, 1, state_of(comm.rank() + 1));
    save(checkpointer, 2, state_of(comm.rank() + 10));
    const auto newest = checkpointer.load_newest();
    ASSERT_TRUE(newest);
    EXPECT_EQ(newest->path, folder.path() / "checkpoints" / "step-00000002");
    const LoadedState loaded = checkpointer.load(newest->path);
    EXPECT_EQ(loaded.json, "{\"value\": 10}");
    EXPECT_TRUE(at::equal(loaded.model.at("weight"), at::full({2, 3}, 10.0)));
    EXPECT_TRUE(at::equal(loaded.optimizer.at("weight.momentum"), at::full({2, 3}, -10.0)));
  });
}

TEST(CheckpointerRanks, RankZerosErrorIsEverybodys) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "file", "");
  std::atomic<int> alike = 0;
  comm::spawn_ranks(3, [&](comm::Communicator& comm) {
    Log log;
    log.set_rank(comm.rank(), comm.size(), "test");
    Checkpointer checkpointer({}, folder.path() / "file" / "checkpoints", comm, log);
    const auto expect = [&](ExitCode code, const std::string& words, const auto& action) {
      try {
        action();
      } catch (const Error& error) {
        if (error.code() == code && std::string(error.what()).find(words) != std::string::npos) {
          ++alike;
        }
      }
    };
    expect(ExitCode::kIo, "Not a directory", [&] { save(checkpointer, 1, state_of(1)); });
    checkpointer.save(2, state_of(1));
    expect(ExitCode::kIo, "checkpoint of step 2", [&] { checkpointer.save(3, state_of(1)); });
    expect(ExitCode::kInputMissing, "no complete checkpoint",
           [&] { checkpointer.load(folder.path() / "none"); });
    // The communicator still works.
    checkpointer.load_newest();
  });
  EXPECT_EQ(alike, 9);
}

}  // namespace
}  // namespace largo::checkpoint
