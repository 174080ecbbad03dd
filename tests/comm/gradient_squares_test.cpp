// The squares of micro-batches' gradients that the reducer sums on the way.
#include "comm/gradient_squares.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "comm/base/error.h"
#include "comm/gradient_reducer.h"
#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"

namespace largo::comm {
namespace {

// Five layers and one that takes part in the last micro-batch only, so that its bucket is not
// filled before. Layer i's gradient is input(i, rank, micro).
struct Layers {
  explicit Layers(at::ScalarType dtype = torch::kDouble) {
    for (int i = 0; i < 6; ++i) {
      weights.push_back(torch::ones({40 + 7 * i, 3}, dtype).set_requires_grad(true));
    }
  }

  static torch::Tensor input(int layer, int rank, int micro) {
    const torch::Tensor x = torch::arange((40 + 7 * layer) * 3, torch::kDouble).view({-1, 3});
    return (x * (1 + rank) + layer) / (3.0 + micro);
  }

  // Rank 1 has no samples in the second micro-batch.
  static double to_mean(int rank, int micro) { return rank == 1 && micro == 1 ? 0 : 2 + micro; }
  static bool takes_part(int layer, int micro, int micros) {
    return layer != 2 || micro + 1 == micros;
  }

  void step(GradientReducer& reducer, int rank, int micros) const {
    reducer.begin_step();
    for (int m = 0; m < micros; ++m) {
      reducer.begin_micro_batch(to_mean(rank, m));
      if (m + 1 == micros) reducer.arm();
      torch::Tensor loss = torch::zeros({}, weights[0].options());
      for (int i = 0; i < 6; ++i) {
        if (!takes_part(i, m, micros)) continue;
        loss = loss + (weights[i] * input(i, rank, m).to(weights[i].dtype())).sum();
      }
      loss.backward();
    }
    reducer.wait();
  }

  static double squares(int ranks, int micros) {
    double sum = 0;
    for (int r = 0; r < ranks; ++r) {
      for (int m = 0; m < micros; ++m) {
        for (int i = 0; i < 6; ++i) {
          if (!takes_part(i, m, micros)) continue;
          sum += (input(i, r, m) * to_mean(r, m)).square().sum().item<double>();
        }
      }
    }
    return sum;
  }

  std::vector<torch::Tensor> weights;
};

void expect_true(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

struct Way {
  bool pack = false;
  bool overlap = true;
  bool rides = false;  // something else rides too
  std::optional<at::ScalarType> wire = {};
};

std::vector<Way> all_ways() {
  std::vector<Way> ways;
  for (const bool pack : {false, true}) {
    for (const bool overlap : {false, true}) {
      for (const bool rides : {false, true}) {
        ways.push_back({pack, overlap, rides, std::nullopt});
        ways.push_back({pack, overlap, rides, at::kBFloat16});
      }
    }
  }
  return ways;
}

ReducerOptions options(const Way& way, bool sum_squares) {
  return {.bucket_bytes = 4096,
          .first_bucket_bytes = 1024,
          .overlap = way.overlap,
          .pack = way.pack,
          .wire_dtype = way.wire,
          .sum_squares = sum_squares};
}

TEST(GradientSquares, AreThoseOfEveryMicroBatchOnEveryRank) {
  for (const Way& way : all_ways()) {
    for (const int ranks : {1, 2, 3}) {
      for (const int micros : {1, 3}) {
        spawn_ranks(ranks, [&](Communicator& world) {
          const Layers layers;
          const torch::Tensor extra = torch::zeros({way.rides ? 5 : 0}, torch::kDouble);
          GradientReducer reducer(layers.weights, way.rides ? extra : torch::Tensor(), world,
                                  options(way, true));
          for (int step = 0; step < 3; ++step) {
            extra.fill_(world.rank() + 1.0);
            layers.step(reducer, world.rank(), micros);
            const torch::Tensor squares = reducer.micro_batch_squares();
            const double want = Layers::squares(ranks, micros);
            const double error = std::abs(squares.item<double>() - want) / want;
            expect_true(error < 1e-14, concat("off by ", error, " of ", want, ": ranks ", ranks,
                                              " micro-batches ", micros, " pack ", way.pack,
                                              " overlap ", way.overlap, " step ", step));
            expect_true(!way.rides || extra.eq(ranks * (ranks + 1) / 2.0).all().item<bool>(),
                        "what rides beside them");
          }
        });
      }
    }
  }
}

TEST(GradientSquares, NoBitOfTheGradientsDependsOnThem) {
  for (const Way& way : all_ways()) {
    spawn_ranks(3, [&](Communicator& world) {
      // Sixteen values ride along, one unit of alignment: the squares need another.
      const auto gradients = [&](bool sum_squares) {
        const Layers layers(torch::kFloat);
        const torch::Tensor extra = torch::ones({way.rides ? 16 : 0});
        GradientReducer reducer(layers.weights, way.rides ? extra : torch::Tensor(), world,
                                options(way, sum_squares));
        std::vector<torch::Tensor> bits;
        for (int step = 0; step < 2; ++step) {
          layers.step(reducer, world.rank(), 3);
          for (const at::Tensor& gradient : reducer.gradients()) bits.push_back(gradient.clone());
        }
        expect_true(reducer.micro_batch_squares().defined() == sum_squares, "unasked squares");
        return bits;
      };
      const auto with = gradients(true), without = gradients(false);
      for (size_t i = 0; i < with.size(); ++i) {
        expect_true(torch::equal(with[i], without[i]), concat("gradient ", i, " differs"));
      }
    });
  }
}

// A rank's sum is a double; between the ranks it has the parameters' dtype.
TEST(GradientSquares, OfFloatsAreSummedInDoublePrecision) {
  GradientSquares squares;
  squares.begin_step();
  squares.begin_micro_batch(2);
  squares.add({torch::full({1 << 20}, 0.1F), torch::full({3, 5}, 1e-4F)});
  squares.begin_micro_batch(1);
  squares.add({torch::full({}, 1e25F)});  // whose square is no float
  torch::Tensor slot = torch::zeros({1}, torch::kDouble);
  squares.store(slot);
  EXPECT_NEAR(slot.item<double>() / (double{1e25F} * double{1e25F}), 1, 1e-14);
  torch::Tensor of_floats = torch::zeros({1}, torch::kFloat);
  squares.store(of_floats);
  EXPECT_EQ(of_floats.item<float>(), std::numeric_limits<float>::infinity());

  squares.begin_step();
  squares.begin_micro_batch(2);
  squares.add({torch::full({1 << 20}, 0.1F), torch::full({3, 5}, 1e-4F)});
  squares.store(slot);
  const double of_many = double{0.1F} * double{0.1F} * (1 << 20);
  const double want = 4 * (of_many + double{1e-4F} * double{1e-4F} * 15);
  EXPECT_NEAR(slot.item<double>() / want, 1, 1e-11);
}

TEST(GradientSquares, OfAnyLayout) {
  GradientSquares squares;
  squares.begin_step();
  squares.begin_micro_batch(1);
  const torch::Tensor image = torch::arange(24, torch::kFloat).view({1, 2, 3, 4});
  squares.add({torch::ones({}).expand({7, 3}), image.contiguous(torch::MemoryFormat::ChannelsLast),
               image[0][0].t(), torch::ones({5}).to(torch::kBFloat16)});
  torch::Tensor slot = torch::zeros({1}, torch::kFloat);
  squares.store(slot);
  EXPECT_EQ(slot.item<float>(), 21 + 23 * 24 * 47 / 6 + 11 * 12 * 23 / 6 + 5);
}

TEST(GradientSquares, ShowWhatIsNotFinite) {
  for (const double wrong :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    spawn_ranks(2, [&](Communicator& world) {
      const Layers layers;
      GradientReducer reducer(layers.weights, {}, world, options({}, true));
      reducer.begin_step();
      reducer.begin_micro_batch(1);
      if (world.rank() == 1) (layers.weights[3][7][1] * wrong).backward();
      reducer.begin_micro_batch(1);
      reducer.arm();
      layers.weights[0].sum().backward();
      reducer.wait();
      expect_true(!std::isfinite(reducer.micro_batch_squares().item<double>()), "looks finite");
      layers.step(reducer, world.rank(), 2);
      expect_true(std::isfinite(reducer.micro_batch_squares().item<double>()), "stays so");
    });
  }
}

}  // namespace
}  // namespace largo::comm
