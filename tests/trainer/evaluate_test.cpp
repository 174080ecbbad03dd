#include "trainer/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <stdexcept>

#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "comm/thread_communicator.h"
#include "trainer/data/catalog.h"

namespace largo {
namespace {

// Says class (index mod 10) with a confidence that depends on the pixels.
class Pixels final : public nn::Model {
 public:
  torch::Tensor forward(const torch::Tensor& images, const nn::StepContext&) override {
    seen += images.size(0);
    return images.flatten(1).narrow(1, 0, 10) * 3;
  }
  int64_t seen = 0;
};

// Ten images, and what makes tensors of them.
struct TenImages {
  explicit TenImages(torch::Dtype dtype) {
    torch::set_num_threads(1);
    data::DataOptions options;
    options.kind = "synthetic";
    options.shape = {1, 4, 4};
    options.limit = 10;
    data::DataCatalog catalog;
    data::add_builtin_data(catalog);
    sets = catalog.load(options, "", 1);
    transform = {.mean = sets.mean,
                 .std = sets.std,
                 .dtype = dtype,
                 .framing = data::eval_framing(options, sets.val->shape())};
  }

  data::Datasets sets;
  data::Transform transform;
};

TEST(Evaluate, CountsEachSampleOnceAtAnyWorld) {
  const TenImages images(torch::kDouble);
  comm::SelfCommunicator alone;
  Pixels model;
  const EvalResult reference = evaluate(model, *images.sets.val, images.transform, 100, 0, alone);
  EXPECT_EQ(reference.samples, images.sets.val->size());
  EXPECT_GT(reference.top5, reference.top1);
  for (const int ranks : {1, 2, 3, 4, 7}) {
    for (const int64_t batch : {int64_t{7}, int64_t{500}}) {
      std::mutex mutex;
      int64_t seen = 0;
      comm::spawn_ranks(ranks, [&](comm::Communicator& world) {
        Pixels of_rank;
        const EvalResult result =
            evaluate(of_rank, *images.sets.val, images.transform, batch, 1, world);
        if (result.samples != reference.samples || result.top1 != reference.top1 ||
            result.top5 != reference.top5 || std::abs(result.loss - reference.loss) > 1e-12 ||
            std::abs(result.confidence - reference.confidence) > 1e-12) {
          throw std::runtime_error(concat("another result on ", ranks, " ranks"));
        }
        const std::scoped_lock lock(mutex);
        seen += of_rank.seen;
      });
      EXPECT_EQ(seen, images.sets.val->size()) << ranks << " ranks, batches of " << batch;
    }
  }
}

TEST(Evaluate, OfVirtualWorkersHasTheSameBitsAtEveryWorld) {
  const TenImages images(torch::kFloat);
  comm::SelfCommunicator alone;
  Pixels model;
  const EvalResult expected = evaluate(model, *images.sets.val, images.transform, 7, 0, alone,
                                       nullptr, {}, /*virtual_workers=*/24);
  for (const int ranks : {3, 6, 12, 24}) {
    comm::spawn_ranks(ranks, [&](comm::Communicator& world) {
      Pixels of_rank;
      const EvalResult result =
          evaluate(of_rank, *images.sets.val, images.transform, 7, 1, world, nullptr, {}, 24);
      if (result.samples != expected.samples || result.loss != expected.loss ||
          result.top1 != expected.top1 || result.confidence != expected.confidence) {
        throw std::runtime_error(concat("another result on ", ranks, " ranks"));
      }
    });
  }
}

}  // namespace
}  // namespace largo
