#include "trainer/nn/sync_batch_norm.h"

#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/base/error.h"

namespace largo::nn {

namespace {

// The channels moved last in the shape: one pass then broadcasts over them at full speed, in either
// memory format.
torch::Tensor by_channel(const torch::Tensor& x) { return x.permute({0, 2, 3, 1}); }

// scale * x + shift with one scale and shift per channel, in x's memory format. Not a view, so that
// the caller's in-place operations are differentiable.
torch::Tensor affine(const torch::Tensor& x, const torch::Tensor& scale,
                     const torch::Tensor& shift) {
  const torch::Tensor y = torch::empty_like(x);
  torch::Tensor out = by_channel(y);
  at::addcmul_out(out, shift.to(x.dtype()), by_channel(x), scale.to(x.dtype()));
  return y;
}

struct GroupStatistics {
  torch::Tensor mean;      // [channels], float64
  torch::Tensor variance;  // [channels], float64, biased
};

// `counts`: values per channel on each rank, at least one of them positive.
GroupStatistics group_statistics(const torch::Tensor& x, const std::vector<int64_t>& counts,
                                 comm::Communicator& group) {
  const auto options = x.options().dtype(torch::kFloat64);
  torch::Tensor mine = torch::zeros({2, x.size(1)}, options);  // what a rank without samples sends
  if (counts[group.rank()] > 0) {
    const auto [mean, variance] = at::batch_norm_update_stats(x, {}, {}, /*momentum=*/0);
    mine[0].copy_(mean);
    mine[1].copy_(variance);
  }
  const torch::Tensor all = group.all_gather(mine);  // [ranks, 2, channels]

  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  std::vector<double> shares;
  for (const int64_t count : counts) shares.push_back(static_cast<double>(count) / total);
  const torch::Tensor share =
      torch::tensor(shares, torch::kFloat64).to(x.device()).unsqueeze(1);  // [ranks, 1]

  const torch::Tensor means = all.select(1, 0);
  const torch::Tensor variances = all.select(1, 1);
  const torch::Tensor mean = (share * means).sum(0);
  return {mean, (share * (variances + (means - mean).square())).sum(0)};
}

// What backward needs to know of the group.
struct GroupHandle : torch::CustomClassHolder {
  GroupHandle(comm::Communicator& group, double count, double epsilon)
      : group(group), count(count), epsilon(epsilon) {}
  comm::Communicator& group;
  double count;  // values per channel in the whole group
  double epsilon;
};

// The affine map of the statistics, whose backward treats them as the functions of x that they are.
struct Normalize : torch::autograd::Function<Normalize> {
  using Context = torch::autograd::AutogradContext;

  static torch::Tensor forward(Context* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const torch::Tensor& mean, const torch::Tensor& variance,
                               const c10::intrusive_ptr<GroupHandle>& handle) {
    context->save_for_backward({x, weight, mean, variance});
    context->saved_data["group"] = c10::IValue::make_capsule(handle);
    const torch::Tensor scale = weight * (variance + handle->epsilon).rsqrt();  // float64
    const torch::Tensor shift = bias - mean * scale;
    return affine(x, scale, shift);
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &weight = saved[1], &mean = saved[2], &variance = saved[3];
    const auto capsule = context->saved_data["group"].toCapsule();
    const auto& handle = static_cast<const GroupHandle&>(*capsule);
    const torch::Tensor dy = grads[0].contiguous(x.suggest_memory_format());

    torch::Tensor sum_dy_xhat = torch::zeros_like(weight);
    torch::Tensor sum_dy = torch::zeros_like(weight);
    if (x.size(0) > 0) {
      // The kernel's evaluation mode gives both sums in one pass, for any statistics.
      std::tie(std::ignore, sum_dy_xhat, sum_dy) = at::native_batch_norm_backward(
          dy, x, weight, mean.to(weight.dtype()), variance.to(weight.dtype()), {}, {},
          /*train=*/false, handle.epsilon, {false, true, true});
    }

    torch::Tensor dx;
    if (context->needs_input_grad(0)) {
      torch::Tensor means = torch::stack({sum_dy, sum_dy_xhat}).to(torch::kFloat64);
      handle.group.all_reduce(means).wait();
      means.div_(handle.count);
      // dx = weight / sigma * (dy - mean(dy) - xhat * mean(dy * xhat)), as a * dy + b * x + c.
      const torch::Tensor inverse_sigma = (variance + handle.epsilon).rsqrt();
      const torch::Tensor a = weight * inverse_sigma;
      const torch::Tensor b = -a * inverse_sigma * means[1];
      const torch::Tensor c = -a * means[0] - b * mean;
      dx = affine(x, b, c);
      by_channel(dx).addcmul_(by_channel(dy), a.to(x.dtype()));
    }
    return {dx, sum_dy_xhat, sum_dy, {}, {}, {}};
  }
};

}  // namespace

SyncBatchNorm::SyncBatchNorm(const NormOptions& options, int64_t channels,
                             comm::Communicator& group)
    : BatchNorm(options, channels), group_(group) {}

torch::Tensor SyncBatchNorm::forward_training(const torch::Tensor& x, const StepContext& context) {
  const auto samples = context.samples_per_rank;
  LARGO_CHECK(static_cast<int>(samples.size()) == group_.size(), samples.size(),
              " sample counts for ", group_.size(), " ranks");
  LARGO_CHECK(samples[group_.rank()] == x.size(0), "the plan says ", samples[group_.rank()],
              " samples, the micro-batch has ", x.size(0));
  std::vector<int64_t> counts;
  for (const int64_t count : samples) counts.push_back(count * x.size(2) * x.size(3));
  const auto count = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  if (count == 0) return forward_empty(x);

  const auto [mean, variance] = [&] {
    const torch::NoGradGuard no_grad;
    const GroupStatistics statistics = group_statistics(x.detach(), counts, group_);
    if (count > 1) {
      deposit(statistics.mean, statistics.variance * (count / (count - 1)), x.size(0), context);
    } else {
      deposit(statistics.mean, statistics.variance, x.size(0), context);
    }
    return statistics;
  }();
  return Normalize::apply(x, weight, bias, mean, variance,
                          c10::make_intrusive<GroupHandle>(group_, count, epsilon()));
}

}  // namespace largo::nn
