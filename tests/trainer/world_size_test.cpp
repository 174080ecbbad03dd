// run.determinism: world_size: a training has the same bits at every number of ranks that share out
// its virtual workers: ranks as threads.
#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "comm/base/tree_order.h"
#include "comm/thread_communicator.h"
#include "tests/trainer/toy_run.h"

namespace largo::test {
namespace {

ToyResult run_on_threads(const ToyOptions& options, int64_t ranks) {
  ToyResult of_rank_zero;
  std::mutex mutex;
  comm::spawn_ranks(static_cast<int>(ranks), [&](comm::Communicator& world) {
    const auto norms = world.split(0, world.rank());
    ToyResult result = run_toy(options, world, *norms);
    if (world.rank() == 0) {
      const std::scoped_lock lock(mutex);
      of_rank_zero = std::move(result);
    }
  });
  return of_rank_zero;
}

// The first number or tensor that has other bits; empty: none.
std::string first_difference(const ToyResult& a, const ToyResult& b) {
  const auto differ = [](const std::vector<double>& x, const std::vector<double>& y) {
    return x.size() != y.size() || std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) != 0;
  };
  if (differ(a.losses, b.losses)) return "losses";
  if (differ(a.grad_norms, b.grad_norms)) return "gradient norms";
  if (differ(a.lrs, b.lrs)) return "learning rates";
  if (differ(a.noise_scales, b.noise_scales)) return "noise scales";
  if (a.state.size() != b.state.size()) return "number of tensors";
  for (size_t i = 0; i < a.state.size(); ++i) {
    const torch::Tensor x = a.state[i].second.contiguous();
    const torch::Tensor y = b.state[i].second.contiguous();
    if (x.nbytes() != y.nbytes() || std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()) != 0) {
      return a.state[i].first;
    }
  }
  return {};
}

struct WorkerCase {
  std::string name;
  ToyOptions options;
};

std::vector<WorkerCase> cases() {
  using nn::NormKind;
  const std::vector<int64_t> small = {3, 8, 8};
  return {
      {"lenet", {.model = "lenet", .norm_given = false, .lr = 0.002}},
      {"mlp_everything",
       {.model = "mlp",
        .norm_given = false,
        .mixup = 0.4,
        .cutout = 8,
        .shuffle = {.kind = data::ShuffleKind::kBlocks, .shards = 2, .window = 50},
        .clip_norm = 0.5,
        .ema_decay = 0.9}},
      {"mlp_adascale", {.model = "mlp", .norm_given = false, .steps = 4, .adascale_base = 12}},
      {"resnet8_batch",
       {.model = "resnet8",
        .norm = {.kind = NormKind::kBatch},
        .shape = small,
        .clip_norm = 1.0,
        .ema_decay = 0.9,
        .precise_bn = 3}},
      {"resnet8_ghost_batch_lars",
       {.model = "resnet8",
        .norm = {.kind = NormKind::kGhostBatch, .virtual_batch = 2},
        .shape = small,
        .optimizer = {.kind = "lars", .weight_decay = 5e-4}}},
      {"resnet8_batch_lamb",
       {.model = "resnet8",
        .norm = {.kind = NormKind::kBatch},
        .shape = small,
        .optimizer = {.kind = "lamb", .weight_decay = 5e-4}}},
  };
}

class WorldSize : public testing::TestWithParam<WorkerCase> {};

TEST_P(WorldSize, DoesNotEnterTheBits) {
  torch::set_num_threads(1);
  for (const int64_t workers : {8, 12}) {
    ToyOptions options = GetParam().options;
    options.precision = Precision::kFloat32;
    options.virtual_workers = workers;
    options.batch = {.global = 4 * workers};
    const ToyResult reference = run_on_threads(options, 1);
    EXPECT_GT(reference.grad_norms.back(), 1e-3);
    for (const int64_t world : comm::tree_worlds(workers)) {
      EXPECT_EQ(first_difference(run_on_threads(options, world), reference), "")
          << workers << " workers on " << world << " ranks";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, WorldSize, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

// What the mode is for: without it the same micro-batches give other bits.
TEST(WorldSize, EntersTheBitsOfPlainSums) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "lenet", .norm_given = false, .lr = 0.002};
  options.precision = Precision::kFloat32;
  options.batch = {.global = 32, .micro = 4};
  EXPECT_NE(first_difference(run_on_threads(options, 2), run_on_threads(options, 1)), "");
}

}  // namespace
}  // namespace largo::test
