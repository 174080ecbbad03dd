#include "trainer/batch_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "comm/base/tree_order.h"

namespace largo {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Duration epochs(double n) { return {n, Duration::Unit::kEpochs}; }
Duration steps(double n) { return {n, Duration::Unit::kSteps}; }

BatchPlan::Inputs inputs(BatchOptions batch, int64_t world, int64_t samples = 60000,
                         LastBatch last = LastBatch::kDrop) {
  return {.batch = batch,
          .last_batch = last,
          .length = epochs(2),
          .world = world,
          .train_samples = samples};
}

std::string first_problem(const BatchPlan::Inputs& in) {
  const auto problems = BatchPlan::check(in);
  return problems.empty() ? "" : problems[0].key + ": " + problems[0].message;
}

TEST(BatchPlan, DerivesWhatIsNotGiven) {
  const BatchPlan from_global(inputs({.global = 512}, 4));
  EXPECT_EQ(from_global.micro_batch(), 128);
  EXPECT_EQ(from_global.accumulation(), 1);
  EXPECT_EQ(from_global.describe(), "512 = 4 ranks x 128");

  const BatchPlan from_rank(inputs({.per_rank = 96, .micro = 32}, 4));
  EXPECT_EQ(from_rank.global_batch(), 384);
  EXPECT_EQ(from_rank.accumulation(), 3);
  EXPECT_EQ(from_rank.describe(), "384 = 4 ranks x 3 x 32");

  const BatchPlan capped(inputs({.global = 1000, .max_micro = 300}, 1));
  EXPECT_EQ(capped.accumulation(), 4);
  EXPECT_EQ(capped.micro_batch(), 250);

  const BatchPlan uneven(inputs({.global = 64}, 3));
  EXPECT_EQ(uneven.micro_batch(), 22);
  EXPECT_EQ(uneven.describe(), "64 = 3 ranks (1 x 22 + 2 x 21)");
  EXPECT_THAT(uneven.samples_per_rank(0, 0), ElementsAre(22, 21, 21));

  const BatchPlan few(inputs({.global = 2}, 4));
  EXPECT_THAT(few.samples_per_rank(0, 0), ElementsAre(1, 1, 0, 0));
}

TEST(BatchPlan, WithAnotherLengthHasTheSameSteps) {
  const BatchPlan plan(inputs({.global = 512}, 4));
  const BatchPlan longer = plan.with_length(steps(1000));
  EXPECT_EQ(longer.total_steps(), 1000);
  EXPECT_EQ(longer.global_batch(), 512);
  for (const int64_t step : {0, 117, 999}) EXPECT_EQ(longer.slice(step), plan.slice(step)) << step;
}

TEST(BatchPlan, RefusesContradictionsWithNumbers) {
  EXPECT_THAT(first_problem(inputs({}, 1)), HasSubstr("neither batch.global nor batch.per_rank"));
  EXPECT_THAT(first_problem(inputs({.global = 1000, .per_rank = 128}, 8)),
              HasSubstr("global 1000 is not per_rank 128 x 8 ranks = 1024"));
  EXPECT_EQ(first_problem(inputs({.global = 1024, .per_rank = 128}, 8)), "");
  const auto micro = first_problem(inputs({.global = 96, .micro = 32}, 4));
  EXPECT_THAT(micro, HasSubstr("global 96 is not a multiple of 4 ranks x micro 32 = 128"));
  EXPECT_THAT(micro, HasSubstr("legal: global 128, worlds of 1, 3 ranks"));
  EXPECT_THAT(first_problem(inputs({.global = 64, .micro = 16}, 3)),
              HasSubstr("global 64 on 3 ranks is up to 22 samples per rank"));
  EXPECT_THAT(first_problem(inputs({.per_rank = 100, .micro = 32}, 2)),
              HasSubstr("per_rank 96 or 128"));
  EXPECT_THAT(first_problem(inputs({.global = 64, .micro = 32, .max_micro = 16}, 2)),
              HasSubstr("micro 32 is more than max_micro 16"));
  EXPECT_THAT(first_problem(inputs({.global = 100}, 2, 99)),
              HasSubstr("a global batch of 100 is more than the 99 training samples"));
  EXPECT_EQ(first_problem(inputs({.global = 100}, 2, 99, LastBatch::kKeep)), "");
}

TEST(BatchPlan, SameSamplesPerStepAtAnyWorld) {
  for (const LastBatch last : {LastBatch::kDrop, LastBatch::kKeep, LastBatch::kWrap}) {
    const BatchPlan alone(inputs({.global = 60}, 1, 250, last));
    for (const int64_t world : {1, 2, 3, 4, 7, 61}) {
      for (const auto max_micro : {std::optional<int64_t>(), std::optional<int64_t>(7)}) {
        const BatchPlan plan(inputs({.global = 60, .max_micro = max_micro}, world, 250, last));
        ASSERT_EQ(plan.total_steps(), alone.total_steps());
        for (int64_t step = 0; step < plan.total_steps(); ++step) {
          SampleSpan whole = alone.part(step, 0, 0);
          EXPECT_EQ(plan.samples_in_step(step), whole.count);
          int64_t next = whole.first;  // the pieces follow each other without gap or overlap
          for (int64_t rank = 0; rank < world; ++rank) {
            for (int64_t micro = 0; micro < plan.accumulation(); ++micro) {
              const SampleSpan part = plan.part(step, micro, rank);
              EXPECT_EQ(part.first, next);
              EXPECT_LE(part.count, plan.micro_batch());
              EXPECT_EQ(part.count, plan.samples_per_rank(step, micro)[rank]);
              next += part.count;
            }
          }
          EXPECT_EQ(next, whole.first + whole.count);
        }
      }
    }
  }
}

BatchPlan::Inputs with_workers(int64_t workers, BatchPlan::Inputs in) {
  in.virtual_workers = workers;
  return in;
}

TEST(BatchPlan, VirtualWorkersHaveTheSameSamplesAtEveryWorld) {
  for (const LastBatch last : {LastBatch::kDrop, LastBatch::kWrap}) {
    for (const int64_t workers : {1, 8, 12, 24}) {
      const BatchPlan alone(with_workers(workers, inputs({.global = 72}, 1, 250, last)));
      if (72 % workers != 0) continue;
      EXPECT_EQ(alone.accumulation(), workers);
      for (const int64_t world : comm::tree_worlds(workers)) {
        const BatchPlan plan(with_workers(workers, inputs({.global = 72}, world, 250, last)));
        EXPECT_EQ(plan.micro_batch(), 72 / workers);
        EXPECT_EQ(plan.accumulation(), workers / world);
        for (int64_t step = 0; step < plan.total_steps(); ++step) {
          for (int64_t worker = 0; worker < workers; ++worker) {
            const SampleSpan part =
                plan.part(step, worker % plan.accumulation(), worker / plan.accumulation());
            EXPECT_EQ(part, alone.part(step, worker, 0));
            EXPECT_EQ(part.count, 72 / workers);
          }
        }
      }
      for (int64_t world = 1; world <= 30; ++world) {
        const auto legal = comm::tree_worlds(workers);
        const bool is_legal = std::find(legal.begin(), legal.end(), world) != legal.end();
        EXPECT_EQ(first_problem(with_workers(workers, inputs({.global = 72}, world))).empty(),
                  is_legal);
      }
    }
  }
  const BatchPlan plan(with_workers(8, inputs({.global = 64}, 2)));
  EXPECT_EQ(plan.describe(), "64 = 2 ranks x 4 virtual workers x 8");
  EXPECT_EQ(BatchPlan(with_workers(8, inputs({.per_rank = 8, .micro = 8}, 8))).describe(),
            "64 = 8 ranks x 1 virtual worker x 8");
}

TEST(BatchPlan, RefusesUnequalVirtualWorkers) {
  const auto problem = [](int64_t workers, BatchOptions batch, int64_t world,
                          LastBatch last = LastBatch::kDrop) {
    return first_problem(with_workers(workers, inputs(batch, world, 60000, last)));
  };
  EXPECT_EQ(
      problem(8, {.global = 64}, 3),
      "run.virtual_workers: 8 workers are summed in a binary tree, which 3 ranks cannot share "
      "out; legal: one of 1, 2, 4, 8 ranks, or run.virtual_workers: 6 or 12");
  EXPECT_THAT(problem(24, {.global = 72}, 2), HasSubstr("legal: one of 1, 3, 6, 12, 24 ranks, or "
                                                        "run.virtual_workers: 16 or 32"));
  EXPECT_THAT(problem(8, {.global = 64}, 16), HasSubstr("8 ranks, or run.virtual_workers: 16"));
  EXPECT_EQ(problem(1, {.global = 64}, 2),
            "run.virtual_workers: 1 virtual worker is trained by one rank alone, and here are 2 "
            "ranks; legal: 1 rank, or run.virtual_workers: 2");
  EXPECT_EQ(
      problem(8, {.global = 100}, 2),
      "batch.global: a global batch of 100 has no equal parts for 8 virtual workers; legal: a "
      "global batch of 96 or 104");
  EXPECT_THAT(problem(8, {.per_rank = 3}, 2), HasSubstr("batch.per_rank: a global batch of 6"));
  EXPECT_EQ(problem(8, {.global = 64, .micro = 16}, 2),
            "batch.micro: micro 16 is not the 8 samples of each of 8 virtual workers (batch.global "
            "64); legal: micro 8, or run.virtual_workers: 4");
  EXPECT_EQ(problem(8, {.global = 64, .max_micro = 3}, 2),
            "batch.max_micro: max_micro 3 is less than the 8 samples of each of 8 virtual workers "
            "(batch.global 64); legal: at least 8, or run.virtual_workers: 32");
  EXPECT_EQ(problem(8, {.global = 64, .max_micro = 9}, 2), "");
  EXPECT_THAT(problem(8, {.global = 64}, 2, LastBatch::kKeep),
              HasSubstr("train.last_batch: keep ends every epoch with a step of 32 samples"));
  EXPECT_EQ(problem(8, {.global = 96}, 2, LastBatch::kKeep), "");  // no shorter step: 60000 / 96
}

TEST(BatchPlan, LastBatches) {
  // 250 samples, 60 a step, two epochs.
  const BatchPlan drop(inputs({.global = 60}, 1, 250, LastBatch::kDrop));
  EXPECT_EQ(drop.total_steps(), 8);
  EXPECT_EQ(drop.part(4, 0, 0), (SampleSpan{250, 60}));  // the second epoch starts anew
  EXPECT_EQ(drop.epoch_at(4), 1.0);
  EXPECT_EQ(drop.samples_after(8), 480);

  const BatchPlan keep(inputs({.global = 60}, 1, 250, LastBatch::kKeep));
  EXPECT_EQ(keep.total_steps(), 10);
  EXPECT_EQ(keep.part(4, 0, 0), (SampleSpan{240, 10}));
  EXPECT_EQ(keep.part(5, 0, 0), (SampleSpan{250, 60}));
  EXPECT_EQ(keep.samples_after(6), 310);
  const BatchPlan even(inputs({.global = 50}, 1, 250, LastBatch::kKeep));
  EXPECT_EQ(even.total_steps(), 10);  // none that is left empty
  EXPECT_EQ(even.part(5, 0, 0), (SampleSpan{250, 50}));

  const BatchPlan wrap(inputs({.global = 60}, 1, 250, LastBatch::kWrap));
  EXPECT_EQ(wrap.total_steps(), 9);                      // 500 samples, rounded up
  EXPECT_EQ(wrap.part(4, 0, 0), (SampleSpan{240, 60}));  // ten of it are the next permutation's
  EXPECT_EQ(wrap.epoch_at(5), 1.2);
}

TEST(BatchPlan, DurationsBecomeSteps) {
  const BatchPlan plan(inputs({.global = 512}, 2));
  EXPECT_EQ(plan.steps_of(epochs(1)), 117);
  EXPECT_EQ(plan.steps_of(epochs(0.1)), 12);
  EXPECT_EQ(plan.steps_of(epochs(0)), 0);
  EXPECT_EQ(plan.steps_of(steps(300)), 300);
  EXPECT_EQ(plan.steps_of({1024, Duration::Unit::kSamples}), 2);
  EXPECT_EQ(plan.steps_of({1025, Duration::Unit::kSamples}), 3);
  const BatchPlan thirty(inputs({.global = 2}, 1, 60));
  EXPECT_EQ(thirty.steps_of(epochs(0.1)), 3);  // not 4 for 3.0000000000000004
}

TEST(BatchPlan, ZeroStepsAreLegal) {
  auto in = inputs({.global = 512}, 2);
  in.length = steps(0);
  EXPECT_THAT(BatchPlan::check(in), IsEmpty());
  EXPECT_EQ(BatchPlan(in).total_steps(), 0);
}

}  // namespace
}  // namespace largo
