#include "comm/gradient_reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>
#include <set>
#include <stdexcept>
#include <vector>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"

namespace largo::comm {
namespace {

// Twelve layers whose gradients are known: loss = sum over layers of <w_i, x_i> with x fixed by
// rank and micro-batch, so the gradient of w_i is x_i.
struct Chain {
  explicit Chain(int layers = 12) {
    for (int i = 0; i < layers; ++i) {
      weights.push_back(torch::zeros({50 + 13 * i, 4}, torch::kDouble).set_requires_grad(true));
    }
  }

  static torch::Tensor input(int layer, int rank, int micro) {
    return torch::arange((50 + 13 * layer) * 4, torch::kDouble).view({-1, 4}) * (1 + rank) /
               (3.0 + micro) +
           layer;
  }

  // Nested so that backward finishes the layers one after the other, the last first.
  torch::Tensor loss(int rank, int micro) const {
    torch::Tensor value = torch::zeros({}, torch::kDouble);
    for (size_t i = 0; i < weights.size(); ++i) {
      value = value * 1.0 + (weights[i] * input(static_cast<int>(i), rank, micro)).sum();
    }
    return value;
  }

  std::vector<torch::Tensor> weights;
};

void run_step(const Chain& chain, GradientReducer& reducer, int rank, int micros) {
  reducer.begin_step();
  for (int m = 0; m < micros; ++m) {
    if (m + 1 == micros) reducer.arm();
    chain.loss(rank, m).backward();
  }
  reducer.wait();
}

double relative_error(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

void expect_true(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

TEST(GradientReducer, SumsOverRanksAndMicroBatches) {
  for (const int64_t bucket : {1024, 4096, 1 << 20}) {
    for (const bool overlap : {false, true}) {
      for (const int ranks : {1, 2, 3}) {
        spawn_ranks(ranks, [&](Communicator& world) {
          Chain chain;
          const torch::Tensor extra = torch::full({3}, world.rank() + 1.0, torch::kDouble);
          GradientReducer reducer(
              chain.weights, extra, world,
              {.bucket_bytes = bucket, .first_bucket_bytes = bucket, .overlap = overlap});
          for (int step = 0; step < 3; ++step) {
            extra.fill_(world.rank() + 1.0);
            run_step(chain, reducer, world.rank(), 2);
            for (size_t i = 0; i < chain.weights.size(); ++i) {
              torch::Tensor want = torch::zeros_like(chain.weights[i]);
              for (int r = 0; r < ranks; ++r) {
                for (int m = 0; m < 2; ++m) want += Chain::input(static_cast<int>(i), r, m);
              }
              expect_true(relative_error(reducer.gradients()[i], want) < 1e-14,
                          concat("layer ", i, " step ", step, " ranks ", ranks));
              expect_true(!chain.weights[i].grad().defined(), "gradient left in .grad");
            }
            expect_true(extra.eq(ranks * (ranks + 1) / 2.0).all().item<bool>(), "riding values");
          }
        });
      }
    }
  }
}

TEST(GradientReducer, BucketsLeaveWhileBackwardRuns) {
  std::mutex mutex;
  std::vector<int64_t> launched;
  spawn_ranks(2, [&](Communicator& world) {
    Chain chain;
    GradientReducer reducer(chain.weights, {}, world,
                            {.bucket_bytes = 4096, .first_bucket_bytes = 4096});
    run_step(chain, reducer, world.rank(), 1);
    run_step(chain, reducer, world.rank(), 1);
    expect_true(reducer.bucket_count() > 4, concat(reducer.bucket_count(), " buckets"));
    const std::scoped_lock lock(mutex);
    launched.push_back(reducer.buckets_launched_in_backward());
    // The last layer's gradient comes first; all buckets are full when backward ends.
    expect_true(reducer.order().front() == 11, "order starts with the last layer");
    expect_true(launched.back() == reducer.bucket_count(), "buckets left behind");
  });
  EXPECT_EQ(launched.size(), 2u);
}

TEST(GradientReducer, WithoutOverlapBucketsLeaveAfterBackward) {
  spawn_ranks(2, [&](Communicator& world) {
    Chain chain;
    GradientReducer reducer(chain.weights, {}, world,
                            {.bucket_bytes = 4096, .first_bucket_bytes = 4096, .overlap = false});
    run_step(chain, reducer, world.rank(), 1);
    expect_true(reducer.buckets_launched_in_backward() == 0, "a bucket left early");
  });
}

TEST(GradientReducer, TakesTheOrderOfRankZero) {
  spawn_ranks(2, [&](Communicator& world) {
    Chain chain(3);
    GradientReducer reducer(chain.weights, {}, world, {});
    // Rank 1 alone leaves a parameter out, so it sees another order.
    reducer.begin_step();
    reducer.arm();
    const bool all = world.rank() == 0;
    (all ? chain.loss(0, 0) : (chain.weights[1] * Chain::input(1, 1, 0)).sum()).backward();
    reducer.wait();
    expect_true(relative_error(reducer.gradients()[0], Chain::input(0, 0, 0)) < 1e-15,
                "a parameter that took no part counts as zero");
    reducer.begin_step();
    expect_true(reducer.order() == std::vector<int64_t>({2, 1, 0}), "order");
  });
}

TEST(GradientReducer, KeepsAGivenOrder) {
  SelfCommunicator world;
  Chain chain(3);
  GradientReducer reducer(chain.weights, {}, world, {.order = {1, 0, 2}});
  for (int step = 0; step < 2; ++step) run_step(chain, reducer, 0, 1);
  EXPECT_THAT(reducer.order(), testing::ElementsAre(1, 0, 2));
  EXPECT_THROW(GradientReducer(chain.weights, {}, world, {.order = {1, 0}}), Error);
  EXPECT_THROW(GradientReducer(chain.weights, {}, world, {.order = {1, 1, 2}}), Error);
}

TEST(GradientReducer, NamesRanksThatDisagree) {
  try {
    spawn_ranks(3, [&](Communicator& world) {
      Chain chain(3);
      if (world.rank() == 2)
        chain.weights[1] = torch::zeros({5}).to(torch::kDouble).set_requires_grad(true);
      GradientReducer reducer(chain.weights, {}, world, {});
    });
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                testing::HasSubstr("ranks 0 and 2 disagree on the shape of parameter 1"));
  }
  EXPECT_THROW(spawn_ranks(2,
                           [&](Communicator& world) {
                             Chain chain(3 + world.rank());
                             GradientReducer reducer(chain.weights, {}, world, {});
                           }),
               Error);
}

TEST(GradientReducer, KeepsChannelsLast) {
  SelfCommunicator world;
  torch::Tensor weight = torch::randn({8, 4, 3, 3}, torch::kDouble)
                             .contiguous(torch::MemoryFormat::ChannelsLast)
                             .set_requires_grad(true);
  GradientReducer reducer({weight}, {}, world, {});
  reducer.begin_step();
  reducer.arm();
  (weight * weight).sum().backward();
  reducer.wait();
  EXPECT_EQ(reducer.gradients()[0].strides(), weight.strides());
  EXPECT_TRUE(torch::equal(reducer.gradients()[0], 2 * weight.detach()));
}

}  // namespace
}  // namespace largo::comm
