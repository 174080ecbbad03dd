#include "trainer/lr_find.h"

#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/worker_sums.h"

namespace largo {

namespace {

// A copy of all that training changes.
class Kept {
 public:
  explicit Kept(Learner& learner) : live_(learner.model_state()) {
    for (auto& tensor : learner.optimizer_state()) live_.push_back(std::move(tensor));
    copies_.reserve(live_.size());
    for (const auto& [name, tensor] : live_) copies_.push_back(tensor.detach().clone());
  }

  void put_back() const {
    const torch::NoGradGuard no_grad;
    for (size_t i = 0; i < live_.size(); ++i) live_[i].second.copy_(copies_[i]);
  }

 private:
  Learner::NamedTensors live_;
  std::vector<torch::Tensor> copies_;
};

struct StepMeans {
  double loss = 0;
  double top1 = 0;
};

// Over the global batch; the same on every rank.
StepMeans mean_over_ranks(const StepResult& result, int64_t samples, comm::Communicator& world) {
  const bool by_worker = result.loss_sum.dim() > 0;
  const torch::Tensor sums =
      sum_over_ranks(
          torch::stack({result.loss_sum.to(torch::kDouble), result.top1.to(torch::kDouble)}),
          by_worker, world)
          .cpu();
  world.barrier();  // throws where a sum has failed, whose garbage these numbers would be
  const auto count = static_cast<double>(samples);
  return {sums[0].item<double>() / count, sums[1].item<double>() / count};
}

optim::RangeTest train_on_ramp(const Trainer::Parts& parts, const RampController& ramp,
                               const OnPoint& on_point) {
  optim::RangeTest test(ramp.ramp());
  Trainer trainer(parts, RunState{});
  bool goes_on = true;
  for (int64_t step = 0; goes_on; ++step) {
    const StepResult result = trainer.train_step(step);
    const StepMeans means = mean_over_ranks(result, parts.plan.samples_in_step(step), parts.world);
    goes_on = test.add(means.loss, means.top1);
    if (test.end() != optim::RangeTest::End::kNotFinite) on_point(step, test.points().back());
  }
  return test;
}

}  // namespace

optim::RangeTest run_range_test(const Trainer::Parts& parts, Learner& learner,
                                const RampController& ramp, const OnPoint& on_point) {
  const Kept kept(learner);
  Trainer::Parts of_test = parts;
  of_test.watches_gradients = false;  // the test looks at losses, and ends by them
  try {
    optim::RangeTest test = train_on_ramp(of_test, ramp, on_point);
    kept.put_back();
    return test;
  } catch (...) {
    kept.put_back();
    throw;
  }
}

}  // namespace largo
