// Sums in the aligned binary tree: the same bits at every number of ranks.
#include "comm/tree_sum.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "comm/base/tree_order.h"
#include "comm/gradient_reducer.h"
#include "comm/thread_communicator.h"

namespace largo::comm {
namespace {

using Tensors = std::vector<torch::Tensor>;

// By the definition.
torch::Tensor tree_of(Tensors leaves) {
  while (leaves.size() % 2 == 0) {
    for (size_t i = 0; 2 * i < leaves.size(); ++i) leaves[i] = leaves[2 * i] + leaves[2 * i + 1];
    leaves.resize(leaves.size() / 2);
  }
  torch::Tensor sum = leaves[0].clone();
  for (size_t i = 1; i < leaves.size(); ++i) sum += leaves[i];
  return sum;
}

// Of all magnitudes, so that the order of sums shows.
torch::Tensor numbers(at::IntArrayRef sizes, int64_t key) {
  const at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(key) + 1);
  return at::randn(sizes, generator) * at::randn(sizes, generator).mul_(3).exp_();
}

bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  return at::equal(a.contiguous().view(torch::kInt), b.contiguous().view(torch::kInt));
}

TEST(TreeSum, IsTheTree) {
  for (const int64_t leaves : {1, 2, 3, 4, 6, 8, 12, 24, 32}) {
    for (const int64_t elements : {0, 1, 5, 1000}) {
      Tensors all;
      for (int64_t i = 0; i < leaves; ++i) all.push_back(numbers({elements, 2}, i));
      const torch::Tensor total = torch::empty({2, elements}).t();
      TreeSum sum({total}, leaves);
      for (int twice = 0; twice < 2; ++twice) {
        sum.begin();
        for (const torch::Tensor& leaf : all) {
          sum.next_leaf();
          sum.add(0, leaf);
        }
        EXPECT_TRUE(sum.is_last_leaf());
        EXPECT_TRUE(same_bits(total, tree_of(all))) << leaves << " leaves of " << elements;
      }
      EXPECT_THROW(sum.next_leaf(), Error);
    }
  }
}

constexpr int64_t kWorkers[] = {8, 12, 24};
constexpr int kLayers = 5;

// What a step leaves: gradients, riding values, squares.
struct Sums {
  Tensors gradients;
  torch::Tensor extra, squares;
};

// Layer 2 has no part in every third leaf.
bool takes_part(int layer, int64_t leaf) { return layer != 2 || leaf % 3 != 0; }
std::vector<int64_t> sizes_of(int layer) { return {30 + 13 * layer, 4}; }
torch::Tensor gradient_of(int layer, int64_t leaf) {
  return numbers(sizes_of(layer), 100 * leaf + layer);
}
torch::Tensor extra_of(int64_t leaf) { return numbers({7}, 7000 + leaf); }
double to_mean(int64_t leaf) { return 8.0 + static_cast<double>(leaf % 2); }

Sums sums_of(Communicator& world, int64_t workers, bool overlap, int64_t bucket_bytes) {
  Tensors weights;
  for (int i = 0; i < kLayers; ++i) {
    weights.push_back(torch::zeros(sizes_of(i)).set_requires_grad(true));
  }
  const int64_t of_rank = workers / world.size();
  torch::Tensor extra = torch::zeros({7});
  GradientReducer reducer(weights, extra, world,
                          {.bucket_bytes = bucket_bytes,
                           .first_bucket_bytes = bucket_bytes,
                           .overlap = overlap,
                           .sum_squares = true,
                           .leaves = of_rank});
  for (int step = 0; step < 3; ++step) {  // the second lays buckets out anew
    extra.zero_();
    reducer.begin_step();
    for (int64_t m = 0; m < of_rank; ++m) {
      const int64_t leaf = world.rank() * of_rank + m;
      extra += extra_of(leaf);  // as a forward pass does
      reducer.begin_micro_batch(to_mean(leaf));
      if (m + 1 == of_rank) reducer.arm();
      torch::Tensor loss = torch::zeros({});
      for (int i = 0; i < kLayers; ++i) {
        if (takes_part(i, leaf)) loss = loss + (weights[i] * gradient_of(i, leaf)).sum();
      }
      loss.backward();
    }
    reducer.wait();
  }
  Sums sums;
  for (const torch::Tensor& gradient : reducer.gradients()) {
    sums.gradients.push_back(gradient.clone());
  }
  sums.extra = extra;
  sums.squares = reducer.micro_batch_squares().clone();
  return sums;
}

std::string difference(const Sums& a, const Sums& b) {
  for (int i = 0; i < kLayers; ++i) {
    if (!same_bits(a.gradients[i], b.gradients[i])) return concat("layer ", i);
  }
  if (!same_bits(a.extra, b.extra)) return "riding values";
  return same_bits(a.squares, b.squares) ? "" : "squares";
}

TEST(TreeSum, OfTheReducerHasTheSameBitsAtEveryWorld) {
  for (const int64_t workers : kWorkers) {
    Sums expected;
    for (int i = 0; i < kLayers; ++i) {
      Tensors leaves;
      for (int64_t leaf = 0; leaf < workers; ++leaf) {
        leaves.push_back(takes_part(i, leaf) ? gradient_of(i, leaf) : torch::zeros(sizes_of(i)));
      }
      expected.gradients.push_back(tree_of(leaves));
    }
    Tensors extras;
    for (int64_t leaf = 0; leaf < workers; ++leaf) extras.push_back(extra_of(leaf));
    expected.extra = tree_of(extras);
    for (const int64_t world : tree_worlds(workers)) {
      for (const bool overlap : {false, true}) {
        for (const int64_t bucket : {1024, 1 << 20}) {
          std::mutex mutex;
          spawn_ranks(
              static_cast<int>(world),
              [&](Communicator& ranks) {
                const Sums sums = sums_of(ranks, workers, overlap, bucket);
                const std::scoped_lock lock(mutex);
                if (!expected.squares.defined()) expected.squares = sums.squares;
                const std::string wrong = difference(sums, expected);
                if (!wrong.empty()) {
                  throw std::runtime_error(concat(wrong, ": ", workers, " workers on ", world));
                }
              },
              /*asynchronous=*/overlap);
        }
      }
    }
    double squares = 0;
    for (int64_t leaf = 0; leaf < workers; ++leaf) {
      for (int i = 0; i < kLayers; ++i) {
        if (!takes_part(i, leaf)) continue;
        const double norm = gradient_of(i, leaf).to(torch::kDouble).norm().item<double>();
        squares += norm * norm * to_mean(leaf) * to_mean(leaf);
      }
    }
    EXPECT_NEAR(expected.squares.item<double>() / squares, 1, 1e-6);
  }
}

TEST(TreeSum, RefusesWhatItCannotSum) {
  spawn_ranks(1, [](Communicator& world) {
    const Tensors weights = {torch::zeros({3}).set_requires_grad(true)};
    EXPECT_THROW(GradientReducer(weights, {}, world, {.pack = true, .leaves = 2}), Error);
    EXPECT_THROW(GradientReducer(weights, {}, world, {.wire_dtype = at::kBFloat16, .leaves = 2}),
                 Error);
    GradientReducer reducer(weights, {}, world, {.leaves = 2});
    reducer.begin_step();
    reducer.begin_micro_batch(1);
    EXPECT_THROW(reducer.arm(), Error);
  });
}

}  // namespace
}  // namespace largo::comm
