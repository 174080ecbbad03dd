#include "trainer/metrics/recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "comm/base/error.h"

namespace largo::metrics {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class RecorderTest : public testing::Test {
 protected:
  RecorderTest() {
    std::string name = testing::TempDir() + "recorderXXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~RecorderTest() override { fs::remove_all(folder_); }

  std::string read(const std::string& name) const {
    std::ostringstream content;
    content << std::ifstream(folder_ / name).rdbuf();
    return content.str();
  }

  std::vector<std::string> lines() const {
    std::vector<std::string> all;
    std::istringstream content(read("metrics.jsonl"));
    for (std::string line; std::getline(content, line);) all.push_back(line);
    return all;
  }

  fs::path folder_;
};

EvalRecord eval_at(int64_t step, double top1, std::string split = "test") {
  return {.step = step,
          .epoch = 1.5,
          .split = std::move(split),
          .loss = 0.5,
          .top1 = top1,
          .top5 = 0.9,
          .confidence = 0.8,
          .samples = 10000,
          .time_s = 3};
}

TEST_F(RecorderTest, WritesOneObjectPerLineWithTheEventFirst) {
  Recorder recorder(0, folder_);
  recorder.start(4, 1024);
  recorder.train({.step = 20,
                  .epoch = 0.25,
                  .samples = 20480,
                  .loss = 2.25,
                  .top1 = 0.125,
                  .lr = 0.1,
                  .grad_norm = 1.5,
                  .samples_per_s = 4096,
                  .time_s = 5});
  recorder.eval(eval_at(20, 0.75));
  recorder.checkpoint(20, 0.25, "checkpoints/step-20", 6);
  recorder.end(RunStatus::kStopped, 20, 7);

  const auto all = lines();  // before the recorder is gone: nothing waits in a buffer
  ASSERT_EQ(all.size(), 5u);
  EXPECT_THAT(all[0],
              testing::StartsWith(R"({"event":"start","step":0,"world":4,"global_batch":1024)"));
  EXPECT_EQ(all[1],
            R"({"event":"train","step":20,"epoch":0.25,"samples":20480,"loss":2.25,"top1":0.125,)"
            R"("lr":0.1,"grad_norm":1.5,"samples_per_s":4096.0,"time_s":5.0})");
  EXPECT_EQ(all[2],
            R"({"event":"eval","step":20,"epoch":1.5,"split":"test","loss":0.5,"top1":0.75,)"
            R"("top5":0.9,"confidence":0.8,"samples":10000,"time_s":3.0})");
  EXPECT_EQ(all[3], R"({"event":"checkpoint","step":20,"epoch":0.25,"path":"checkpoints/step-20",)"
                    R"("time_s":6.0})");
  EXPECT_THAT(all[4], testing::StartsWith(R"({"event":"end","step":20,"status":"stopped")"));
}

TEST_F(RecorderTest, NoiseScaleAndWhatTheControllerSaysAreThereWhereKnown) {
  Recorder recorder(0, folder_);
  recorder.train({.lr = 0.1, .noise_scale_biased = true});
  recorder.train({.lr = 0.1, .of_lr = {{"gain", 2.5}}, .noise_scale = 900});
  recorder.train({.lr = 0.1, .noise_scale = 900, .noise_scale_biased = true});
  const auto all = lines();
  EXPECT_THAT(all.at(0), testing::Not(testing::HasSubstr("noise_scale")));
  EXPECT_THAT(all.at(0), testing::Not(testing::HasSubstr("gain")));
  EXPECT_THAT(all.at(1),
              testing::HasSubstr(R"("grad_norm":0.0,"gain":2.5,"noise_scale":900.0,"s)"));
  EXPECT_THAT(all.at(2), testing::HasSubstr(R"("noise_scale":900.0,"noise_scale_biased":true,)"));
}

TEST_F(RecorderTest, NanAndInfinityAreNull) {
  Recorder recorder(0, folder_);
  recorder.train({.loss = std::numeric_limits<double>::quiet_NaN(),
                  .grad_norm = std::numeric_limits<double>::infinity()});
  const json line = json::parse(lines().at(0));
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_TRUE(line["grad_norm"].is_null());
}

TEST_F(RecorderTest, NumbersKeepTheirBits) {
  Recorder recorder(0, folder_);
  const double lr = 0.1 * 32 / 3;
  recorder.train({.lr = lr});
  EXPECT_EQ(json::parse(lines().at(0))["lr"].get<double>(), lr);
}

TEST_F(RecorderTest, OtherRanksWriteNothing) {
  Recorder recorder(1, folder_);
  recorder.start(2, 8);
  recorder.eval(eval_at(1, 0.5));
  recorder.write_summary({});
  recorder.write_file("config.yaml", "x");
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(RecorderTest, NoDirectoryWritesNothing) {
  Recorder recorder(0, std::nullopt);
  recorder.start(1, 8);
  recorder.train({});
  recorder.eval(eval_at(1, 0.5));
  recorder.write_summary({});
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(RecorderTest, EndsATornLineBeforeAppending) {
  std::ofstream(folder_ / "metrics.jsonl") << R"({"event":"start","step":0})"
                                           << "\n"
                                           << R"({"event":"tra)";
  Recorder recorder(0, folder_);
  recorder.resume(0, 1, 8, "checkpoints/step-0");
  const auto all = lines();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1], R"({"event":"tra)");
  EXPECT_EQ(json::parse(all[2])["event"], "resume");
}

TEST_F(RecorderTest, AppendsToAWholeFileWithoutAnEmptyLine) {
  { Recorder(0, folder_).start(1, 8); }
  { Recorder(0, folder_).resume(0, 1, 8, "x"); }
  const auto all = lines();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(json::parse(all[1])["from"], "x");
}

TEST_F(RecorderTest, SummaryHasEverythingThatScriptsRead) {
  Recorder recorder(0, folder_);
  recorder.eval(eval_at(100, 0.7));
  recorder.eval(eval_at(200, 0.9));
  recorder.eval(eval_at(300, 0.8));
  recorder.eval(eval_at(300, 0.99, "train"));  // another split is not the headline
  recorder.write_summary({.status = RunStatus::kDone,
                          .name = "run",
                          .seed = 7,
                          .steps = 300,
                          .world = 4,
                          .global_batch = 1024,
                          .split = "test",
                          .time_s = 12.5,
                          .samples_per_s = 2048,
                          .step_time = {.data = 1,
                                        .forward = 2,
                                        .backward = 3,
                                        .exposed_comm = 4,
                                        .gradient_sums = 9,
                                        .optimizer = 5,
                                        .logging = 10,
                                        .p5 = 6,
                                        .p50 = 7,
                                        .p95 = 8},
                          .config_hash = "abc"});
  const json expected = {{"status", "done"},
                         {"name", "run"},
                         {"seed", 7},
                         {"steps", 300},
                         {"world", 4},
                         {"global_batch", 1024},
                         {"final", {{"top1", 0.8}, {"top5", 0.9}, {"loss", 0.5}}},
                         {"best", {{"top1", 0.9}, {"step", 200}}},
                         {"time_s", 12.5},
                         {"samples_per_s", 2048.0},
                         {"step_time",
                          {{"data", 1.0},
                           {"forward", 2.0},
                           {"backward", 3.0},
                           {"exposed_comm", 4.0},
                           {"gradient_sums", 9.0},
                           {"optimizer", 5.0},
                           {"logging", 10.0},
                           {"p5", 6.0},
                           {"p50", 7.0},
                           {"p95", 8.0}}},
                         {"config_hash", "abc"}};
  EXPECT_EQ(json::parse(read("summary.json")), expected);
  EXPECT_FALSE(fs::exists(folder_ / "summary.json.tmp"));
}

TEST_F(RecorderTest, SummaryOfARunWithoutEvaluationsHasNoScores) {
  Recorder(0, folder_).write_summary({.status = RunStatus::kFailed, .split = "test"});
  const json summary = json::parse(read("summary.json"));
  EXPECT_TRUE(summary["final"].is_null());
  EXPECT_TRUE(summary["best"].is_null());
  EXPECT_EQ(summary["status"], "failed");
}

TEST_F(RecorderTest, SummaryOfAverageAndSkippedSamples) {
  Recorder recorder(0, folder_);
  for (const char* split : {"test", "test_ema"}) {
    EvalRecord record = eval_at(100, split == std::string("test") ? 0.5 : 0.7);
    record.split = split;
    recorder.eval(record);
  }
  recorder.write_summary({.split = "test", .skipped_samples = 3});
  const json summary = json::parse(read("summary.json"));
  EXPECT_EQ(summary["final"]["top1"], 0.5);
  EXPECT_EQ(summary["final_ema"]["top1"], 0.7);
  EXPECT_EQ(summary["best_ema"], (json{{"top1", 0.7}, {"step", 100}}));
  EXPECT_EQ(summary["skipped_samples"], 3);
}

TEST_F(RecorderTest, BestSurvivesAResume) {
  {
    Recorder first(0, folder_);
    first.eval(eval_at(100, 0.9));
    first.eval(eval_at(200, 0.95));  // after the checkpoint that the run resumes from
  }
  {
    Recorder second(0, folder_);
    second.resume(150, 1, 8, "checkpoints/step-150");
    second.eval(eval_at(300, 0.8));
  }
  Recorder third(0, folder_);  // reads the resume line of the second
  third.resume(300, 1, 8, "checkpoints/step-300");
  third.write_summary({.split = "test"});
  const json summary = json::parse(read("summary.json"));
  EXPECT_EQ(summary["best"], (json{{"top1", 0.9}, {"step", 100}}));
  EXPECT_EQ(summary["final"]["top1"], 0.8);
}

TEST_F(RecorderTest, BestIgnoresScoresThatAreNotNumbers) {
  Recorder recorder(0, folder_);
  recorder.eval(eval_at(100, std::numeric_limits<double>::quiet_NaN()));
  recorder.eval(eval_at(200, 0.25));
  recorder.eval(eval_at(300, std::numeric_limits<double>::quiet_NaN()));
  recorder.write_summary({.split = "test"});
  const json summary = json::parse(read("summary.json"));
  EXPECT_EQ(summary["best"], (json{{"top1", 0.25}, {"step", 200}}));
  EXPECT_TRUE(summary["final"]["top1"].is_null());
}

TEST_F(RecorderTest, WriteFileReplacesWhole) {
  Recorder recorder(0, folder_);
  recorder.write_file("config.yaml", "a long first content\n");
  recorder.write_file("config.yaml", "short\n");
  EXPECT_EQ(read("config.yaml"), "short\n");
  EXPECT_FALSE(fs::exists(folder_ / "config.yaml.tmp"));
}

TEST_F(RecorderTest, AMissingDirectoryIsAnIoErrorThatNamesThePath) {
  try {
    Recorder recorder(0, folder_ / "absent");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
    EXPECT_THAT(error.what(), testing::HasSubstr((folder_ / "absent/metrics.jsonl").string()));
  }
}

TEST_F(RecorderTest, AFullDiskIsAnIoError) {
  // A limit on file sizes stands for the disk; without the handler its signal would kill us.
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit full{.rlim_cur = 10, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &full);
  Recorder recorder(0, folder_);
  EXPECT_THROW(recorder.start(1, 8), Error);
  EXPECT_THROW(recorder.write_summary({}), Error);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(fs::exists(folder_ / "summary.json"));
}

TEST_F(RecorderTest, BytesThatAreNotUtf8DoNotStopTheRun) {
  Recorder recorder(0, folder_);
  recorder.checkpoint(1, 0, "checkpoints/\xff", 0);
  EXPECT_EQ(json::parse(lines().at(0))["step"], 1);
}

}  // namespace
}  // namespace largo::metrics
