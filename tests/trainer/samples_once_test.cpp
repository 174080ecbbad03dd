// Every sample of an epoch is trained on exactly once, however often training is stopped and goes
// on, on however many ranks.
#include <gmock/gmock.h>
#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <vector>

#include "comm/thread_communicator.h"
#include "tests/trainer/toy_run.h"
#include "trainer/batch_plan.h"
#include "trainer/data/sampler.h"

namespace largo::test {
namespace {

using Times = std::map<int64_t, std::vector<int>>;  // by epoch and index

void add(const SampleKey& key, int64_t samples, Times& times) {
  std::vector<int>& of_epoch = times[key.epoch];
  of_epoch.resize(static_cast<size_t>(samples));
  ++of_epoch[static_cast<size_t>(key.index)];
}

struct Cut {
  int64_t world = 1;
  int64_t max_micro = 64;
};

BatchPlan plan_of(const Cut& cut, int64_t global, int64_t samples, int64_t steps, LastBatch last) {
  return BatchPlan({.batch = {.global = global, .max_micro = cut.max_micro},
                    .last_batch = last,
                    .length = {static_cast<double>(steps), Duration::Unit::kSteps},
                    .world = cut.world,
                    .train_samples = samples});
}

// What the plan and the sampler of one cut train on, from step to step.
void train(const BatchPlan& plan, int64_t from, int64_t to, Times& times) {
  data::Sampler sampler(3, plan.train_samples());
  for (int64_t step = from; step < to; ++step) {
    for (int64_t rank = 0; rank < plan.world(); ++rank) {
      for (int64_t micro = 0; micro < plan.accumulation(); ++micro) {
        const SampleSpan span = plan.part(step, micro, rank);
        for (const SampleKey& key : sampler.keys(span.first, span.count)) {
          add(key, plan.train_samples(), times);
        }
      }
    }
  }
}

// All pairs of cuts, stopped after every step of three epochs whose length fits no batch.
TEST(SamplesOnce, WhereverItStopsAndHoweverItGoesOn) {
  constexpr int64_t kSamples = 53, kGlobal = 12, kSteps = 15;
  const std::vector<Cut> cuts = {{1, 12}, {1, 5}, {2, 6}, {2, 2}, {3, 4}, {4, 1}, {5, 2}, {8, 1}};
  int combinations = 0;
  for (const LastBatch last : {LastBatch::kKeep, LastBatch::kWrap, LastBatch::kDrop}) {
    for (const Cut& first : cuts) {
      for (const Cut& second : cuts) {
        for (int64_t stop = 0; stop <= kSteps; ++stop) {
          Times times;
          train(plan_of(first, kGlobal, kSamples, kSteps, last), 0, stop, times);
          train(plan_of(second, kGlobal, kSamples, kSteps, last), stop, kSteps, times);
          int64_t trained = 0;
          for (const auto& [epoch, of_epoch] : times) {
            EXPECT_LE(*std::max_element(of_epoch.begin(), of_epoch.end()), 1) << "epoch " << epoch;
            trained += std::count(of_epoch.begin(), of_epoch.end(), 1);
          }
          const int64_t left_out = last == LastBatch::kDrop ? kSamples % kGlobal : 0;
          for (const int64_t epoch : {0, 1, 2}) {
            EXPECT_EQ(std::count(times[epoch].begin(), times[epoch].end(), 0), left_out)
                << "epoch " << epoch;
          }
          EXPECT_EQ(trained, plan_of(first, kGlobal, kSamples, kSteps, last).samples_after(kSteps));
          ++combinations;
        }
      }
    }
  }
  RecordProperty("combinations", combinations);
}

// The same of real steps: what the loaders hand to the models.
TEST(SamplesOnce, OfWhatTheModelsSee) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "mlp", .norm_given = false, .last_batch = LastBatch::kKeep};
  options.train_samples = 53;
  options.shape = {1, 8, 8};
  constexpr int64_t kSteps = 10;  // of two epochs
  std::mutex mutex;
  Times times;
  options.watches = [&](int, const nn::StepContext& context) {
    const std::scoped_lock lock(mutex);
    for (const SampleKey& key : context.keys) add(key, options.train_samples, times);
  };
  const auto run = [&](const Cut& cut, int64_t from, int64_t to) {
    options.batch = {.global = 12, .max_micro = cut.max_micro};
    options.from_step = from;
    options.steps = to;
    comm::spawn_ranks(static_cast<int>(cut.world), [&](comm::Communicator& world) {
      const auto norms = world.split(0, world.rank());
      run_toy(options, world, *norms);
    });
  };
  for (const int64_t stop : {3, 5, 7}) {  // inside the epochs and between them
    times.clear();
    run({2, 3}, 0, stop);
    run({3, 4}, stop, stop + 1);
    run({1, 12}, stop + 1, kSteps);
    ASSERT_EQ(times.size(), 2U);
    for (const auto& [epoch, of_epoch] : times) {
      EXPECT_THAT(of_epoch, testing::Each(1)) << "epoch " << epoch << ", stopped after " << stop;
    }
  }
}

}  // namespace
}  // namespace largo::test
