#include "comm/sum_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <mutex>
#include <set>

#include "comm/base/error.h"
#include "comm/gradient_reducer.h"
#include "comm/staged_communicator.h"
#include "comm/thread_communicator.h"
#include "tests/comm/communicator_contract.h"

namespace largo::comm {
namespace {

using testing::HasSubstr;

// What each rank threw; all must throw alike.
std::string agreed_text(int ranks, const std::function<void(Communicator&)>& body) {
  std::mutex mutex;
  std::multiset<std::string> texts;
  spawn_ranks(ranks, [&](Communicator& world) {
    std::string text;
    try {
      body(world);
    } catch (const AgreedError& error) {
      text = error.what();
    }
    const std::scoped_lock lock(mutex);
    texts.insert(text);
  });
  EXPECT_EQ(texts.count(*texts.begin()), static_cast<size_t>(ranks)) << "ranks do not agree";
  return *texts.begin();
}

// A sum as a library would make it, and with `wrong` one that rank 1 gets wrong.
torch::Tensor summed(Communicator& world, torch::Tensor part, double wrong) {
  world.all_reduce(part).wait();
  if (world.rank() == 1) part[3] += wrong;
  return part;
}

TEST(SumCheck, AcceptsWhatRoundingExplainsAndNoMore) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const double epsilon = dtype == at::kFloat ? 0x1p-23 : dtype == at::kDouble ? 0x1p-52 : 0x1p-8;
    for (const double wrong : {0.0, 1.0, 64.0}) {
      const std::string text = agreed_text(3, [&](Communicator& world) {
        SumCheck check(world, 2);
        const torch::Tensor part = torch::full({10}, 1.0 + world.rank(), torch::kDouble).to(dtype);
        check.keep(part);
        // Thread communicators sum no bfloat16: the sum is exact here.
        torch::Tensor sum =
            summed(world, part.to(torch::kDouble, false, true), wrong * 6 * epsilon);
        const torch::Tensor sums[] = {sum.to(dtype)};
        EXPECT_TRUE(check.compare(sums));
        check.keep(part);
        EXPECT_FALSE(check.compare(sums)) << "the second step is the last";
      });
      if (wrong < 10) {
        EXPECT_EQ(text, "") << at::toString(dtype) << " " << wrong;
      } else {
        EXPECT_THAT(text, HasSubstr("of bucket 0 rank 1 got 1 of 10 values"));
      }
    }
  }
}

TEST(SumCheck, NoNumberIsRightOnlyWhereItShouldBe) {
  const double nan = std::nan("");
  const auto body = [&](double part_value, double sum_value) {
    return agreed_text(2, [=](Communicator& world) {
      SumCheck check(world, 1);
      check.keep(torch::full({4}, part_value, torch::kDouble));
      const torch::Tensor sums[] = {torch::full({4}, sum_value, torch::kDouble)};
      check.compare(sums);
    });
  };
  EXPECT_EQ(body(nan, nan), "");
  EXPECT_EQ(body(INFINITY, INFINITY), "");
  EXPECT_EQ(body(1, 2), "");
  EXPECT_THAT(body(1, nan), HasSubstr("rank 0 got 4 of 4"));
  EXPECT_THAT(body(nan, 2), HasSubstr("rank 0 got 4 of 4"));
}

// Sums that come out wrong on one rank from the second all-reduce on, as a broken network's would.
class Wrong final : public Communicator {
 public:
  explicit Wrong(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  bool is_asynchronous() const override { return false; }
  at::Tensor allocate(int64_t elements, at::ScalarType dtype) override {
    return inner_.allocate(elements, dtype);
  }
  Work all_reduce(at::Tensor tensor, ReduceOp op) override {
    inner_.all_reduce(tensor, op).wait();
    if (++sums_ == 2 && rank() == 2) tensor[0] *= 1.001;
    return Work();
  }
  void broadcast(at::Tensor tensor, int root) override { inner_.broadcast(tensor, root); }
  at::Tensor all_gather(const at::Tensor& tensor) override { return inner_.all_gather(tensor); }
  void barrier() override { inner_.barrier(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return inner_.split(color, key);
  }

 private:
  Communicator& inner_;
  int sums_ = 0;
};

std::string reduce_with(int64_t verify_steps, int steps, std::optional<at::ScalarType> wire) {
  return agreed_text(3, [=](Communicator& world) {
    Wrong broken(world);
    const torch::Tensor a = torch::ones({304}).set_requires_grad(true);
    const torch::Tensor b = torch::ones({304}).set_requires_grad(true);
    GradientReducer reducer({a, b}, {}, broken,
                            {.bucket_bytes = 1024,
                             .first_bucket_bytes = 1024,
                             .wire_dtype = wire,
                             .verify_steps = verify_steps,
                             .check = &world});
    for (int step = 0; step < steps; ++step) {
      reducer.begin_step();
      reducer.arm();
      (a * 2 + b * 3).sum().backward();
      reducer.wait();
    }
  });
}

TEST(SumCheck, TheReducerNamesTheBucketAndRankOfAWrongSum) {
  // 304 of the gradient, and a unit of alignment of what rides.
  EXPECT_THAT(reduce_with(1, 1, {}), HasSubstr("of bucket 1 rank 2 got 1 of 320 values"));
  EXPECT_EQ(reduce_with(0, 1, {}), "");
}

// Over three micro-batches, in the first two of which a parameter takes no part, so that its bucket
// is not filled.
TEST(GradientReducer, PackingAndTheWireChangeNothingButRounding) {
  for (const bool pack : {false, true}) {
    for (const auto& wire : {std::optional<at::ScalarType>(), std::optional(at::kFloat)}) {
      spawn_ranks(3, [&](Communicator& world) {
        std::vector<torch::Tensor> weights(5);
        for (int i = 0; i < 5; ++i) {
          weights[i] = torch::ones({4 + i, 50}, torch::kDouble).set_requires_grad(true);
        }
        const torch::Tensor unused = torch::ones({7}, torch::kDouble).set_requires_grad(true);
        weights.push_back(unused);
        const torch::Tensor extra = torch::zeros({2}, torch::kDouble);
        GradientReducer reducer(
            weights, extra, world,
            {.bucket_bytes = 4096, .first_bucket_bytes = 1024, .pack = pack, .wire_dtype = wire});
        for (int step = 0; step < 3; ++step) {
          reducer.begin_step();
          extra.fill_(1.0 + 1e-12);  // would be lost in float32
          for (int micro = 0; micro < 3; ++micro) {
            torch::Tensor loss = torch::zeros({}, torch::kDouble);
            for (int i = 0; i < 5; ++i) {
              if (micro < 2 && i == 2) continue;
              loss = loss + (weights[i] * (world.rank() + 1.0 + i / 3.0)).sum();
            }
            if (micro == 2) reducer.arm();
            loss.backward();
          }
          reducer.wait();
          for (int i = 0; i < 5; ++i) {
            const double want = (i == 2 ? 1 : 3) * (6 + i);
            const auto off = (reducer.gradients()[i] - want).abs().max().item<double>();
            if (off > (wire ? 1e-5 : 1e-13)) {
              throw std::runtime_error(concat("layer ", i, " off by ", off, " pack ", pack));
            }
          }
          if (!reducer.gradients()[5].eq(0).all().item<bool>()) {
            throw std::runtime_error("an unused parameter has a gradient");
          }
          if (extra[0].item<double>() != 3 * (1.0 + 1e-12)) {
            throw std::runtime_error("riding values lost digits on the wire");
          }
        }
      });
    }
  }
}

TEST(StagedCommunicator, KeepsTheContract) {
  for (const int ranks : {1, 2, 3}) {
    spawn_ranks(ranks, [&](Communicator& world) {
      const auto staged = make_staged_communicator(world.split(0, world.rank()), at::kCPU);
      test::check_contract(*staged);
    });
  }
}

}  // namespace
}  // namespace largo::comm
