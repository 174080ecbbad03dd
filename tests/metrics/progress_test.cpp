#include "trainer/metrics/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace largo::metrics {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// What a log wrote.
class Stream {
 public:
  Stream() : file_(std::tmpfile(), &std::fclose) {}
  std::FILE* get() { return file_.get(); }
  std::string text() {
    std::fflush(file_.get());
    std::rewind(file_.get());
    std::string all;
    for (int c; (c = std::fgetc(file_.get())) != EOF;) all.push_back(static_cast<char>(c));
    std::fseek(file_.get(), 0, SEEK_END);
    return all;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

TrainRecord record_at(int64_t step) {
  return {.step = step,
          .epoch = 1.25,
          .samples = 1024 * step,
          .loss = 0.41234,
          .top1 = 0.8567,
          .lr = 0.8,
          .grad_norm = 1.234,
          .clock = static_cast<double>(step),
          .samples_per_s = 12345.6,
          .time_s = 10};
}

TEST(ProgressText, Clock) {
  EXPECT_EQ(clock_text(0), "0:00");
  EXPECT_EQ(clock_text(59.6), "1:00");
  EXPECT_EQ(clock_text(247), "4:07");
  EXPECT_EQ(clock_text(2 * 3600 + 247), "2:04:07");
  EXPECT_EQ(clock_text(30 * 3600), "30:00:00");
  EXPECT_EQ(clock_text(std::nan("")), "?");
}

TEST(ProgressText, LinesHavePercentWhereFilesHaveFractions) {
  EXPECT_EQ(train_line(record_at(40), 200),
            "step 40/200  epoch 1.25  loss 0.4123  top-1 85.67 %  lr 0.8  grad norm 1.23  "
            "12346 samples/s");
  const EvalRecord eval = {.step = 40,
                           .epoch = 2,
                           .split = "test",
                           .loss = 0.5,
                           .top1 = 0.9,
                           .top5 = 0.995,
                           .confidence = 0.8,
                           .samples = 10000,
                           .time_s = 3};
  EXPECT_EQ(eval_line(eval),
            "eval at step 40  epoch 2.00  test (10000): loss 0.5000  top-1 90.00 %  top-5 99.50 %");
}

TEST(ProgressText, BarFitsEveryWidth) {
  const std::string wide = bar_line(record_at(40), 50, 50, 200, 1.3, 247, 200);
  EXPECT_EQ(wide,
            "[#######.......................]  25 %  step 50/200  eta 4:07  loss 0.4123  lr 0.8  "
            "12346 samples/s  epoch 1.30");
  for (int columns = 1; columns <= 200; ++columns) {
    const std::string line = bar_line(record_at(40), 50, 50, 200, 1.3, 247, columns);
    EXPECT_LE(static_cast<int>(line.size()), std::max(columns - 1, 1)) << columns;
  }
  EXPECT_EQ(bar_line(record_at(40), 50, 50, 200, 1.3, 247, 80),
            "[##........]  25 %  step 50/200  eta 4:07  loss 0.4123  lr 0.8  12346 samples/s");
  EXPECT_EQ(bar_line(record_at(40), 50, 50, 200, 1.3, 247, 8), " 25 %");
}

TEST(ProgressText, BarBeforeTheFirstNumbersAndAtTheEnds) {
  const std::string first = bar_line({}, 1, 1, 200, 0.01, -1, 100);
  EXPECT_THAT(first, Not(HasSubstr("loss")));
  EXPECT_THAT(first, Not(HasSubstr("eta")));
  EXPECT_THAT(bar_line({}, 199, 199, 200, 1, -1, 100), HasSubstr(" 99 %"));  // 100 % only when done
  EXPECT_THAT(bar_line({}, 200, 200, 200, 1, -1, 100), HasSubstr("100 %"));
  EXPECT_THAT(bar_line({}, 0, 0, 0, 0, -1, 100), HasSubstr("100 %"));
}

TEST(Progress, WithoutABarEachTrainRecordIsALine) {
  Stream stream;
  Log log(stream.get());
  Progress progress(log, 200, /*bar=*/false);
  progress.step(39, 39, 1.2, 0);
  EXPECT_THAT(stream.text(), IsEmpty());
  progress.train(record_at(40));
  EXPECT_EQ(stream.text(), train_line(record_at(40), 200) + "\n");
}

TEST(Progress, ABarIsDrawnTenTimesASecondAtMostAndWiped) {
  Stream stream;
  Log log(stream.get());
  const auto draws = [&] {
    const std::string text = stream.text();
    return std::count(text.begin(), text.end(), '\r');
  };
  {
    Progress progress(log, 200, /*bar=*/true);
    for (int step = 0; step <= 100; ++step) progress.step(step, step, 0, 5 + step * 0.01);
    EXPECT_GE(draws(), 9);
    EXPECT_LE(draws(), 11);
    EXPECT_THAT(stream.text(), Not(HasSubstr("\n")));
    progress.train(record_at(100));
    EXPECT_THAT(stream.text(), Not(HasSubstr("\n")));
  }
  EXPECT_TRUE(stream.text().ends_with("\r\033[K"));
}

TEST(Progress, EtaIsTheRestAtTheRateSinceTheFirstStepOfThisProcess) {
  Stream stream;
  Log log(stream.get());
  Progress progress(log, 1200, /*bar=*/true);
  progress.step(1000, 1000, 0, 100);  // a resumed run
  progress.step(1100, 1100, 0, 160);  // 0.6 s a step, 100 to go
  EXPECT_THAT(stream.text(), HasSubstr("eta 1:00"));
}

TEST(Progress, GoesByTheClockOfTheLearningRate) {
  Stream stream;
  Log log(stream.get());
  Progress progress(log, 1000, /*bar=*/true);
  progress.step(10, 20, 0, 100);
  progress.step(50, 500, 0, 196);  // 0.2 s for each unit of the clock, 500 to go
  EXPECT_THAT(stream.text(), HasSubstr(" 50 %  step 50 (500.0/1000)  eta 1:40"));
  TrainRecord record = record_at(50);
  record.clock = 500.25;
  EXPECT_THAT(train_line(record, 1000), HasSubstr("step 50 (500.2/1000)  epoch"));
}

TEST(ProgressText, SaysHowNoisyGradientsAre) {
  TrainRecord record = record_at(40);
  EXPECT_THAT(train_line(record, 200), Not(HasSubstr("noise")));
  record.noise_scale = 873.4;
  EXPECT_THAT(train_line(record, 200), HasSubstr("grad norm 1.23  noise scale 873  12346 samples"));
  record.noise_scale_biased = true;
  EXPECT_THAT(train_line(record, 200), HasSubstr("noise scale 873 (biased)  12346 samples"));
}

TEST(Progress, OtherRanksAreSilent) {
  Stream stream;
  Log log(stream.get());
  log.set_rank(1, 2, "host");
  {
    Progress bar(log, 200, true);
    bar.step(1, 1, 0, 0);
    Progress plain(log, 200, false);
    plain.train(record_at(1));
    plain.eval({});
  }
  EXPECT_THAT(stream.text(), IsEmpty());
}

TEST(Progress, ADumbTerminalIsNoTerminal) {
  const char* before = std::getenv("TERM");
  const std::string saved = before ? before : "";
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(stderr_is_terminal());
  before ? ::setenv("TERM", saved.c_str(), 1) : ::unsetenv("TERM");
}

TEST(Progress, WidthIsAlwaysKnown) { EXPECT_GT(stderr_columns(), 0); }

}  // namespace
}  // namespace largo::metrics
