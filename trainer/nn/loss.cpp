#include "trainer/nn/loss.h"

#include <algorithm>

#include "comm/base/error.h"

namespace largo::nn {

namespace {

// Sums of bfloat16 lose all but two digits.
torch::Tensor at_least_single(const torch::Tensor& logits) {
  return at::isReducedFloatingType(logits.scalar_type()) ? logits.to(torch::kFloat32) : logits;
}

// How many classes come before the label in the order of falling logits, [n].
torch::Tensor label_rank(const torch::Tensor& logits, const torch::Tensor& labels) {
  const torch::Tensor label = labels.unsqueeze(1);
  const torch::Tensor own = logits.gather(1, label);
  const torch::Tensor classes = torch::arange(logits.size(1), labels.options());
  return logits.gt(own).logical_or(logits.eq(own).logical_and(classes.lt(label))).sum(1);
}

}  // namespace

torch::Tensor cross_entropy_sum(const torch::Tensor& any_logits, const Targets& targets,
                                double label_smoothing) {
  const torch::Tensor logits = at_least_single(any_logits);
  const auto against = [&](const torch::Tensor& labels) {
    return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum, /*ignore_index=*/-100,
                                  label_smoothing);
  };
  if (targets.mix == 1) return against(targets.labels);
  // Cross entropy is linear in the target.
  return targets.mix * against(targets.labels) +
         (1 - targets.mix) * against(targets.partner_labels);
}

torch::Tensor top1_count(const torch::Tensor& logits, const torch::Tensor& labels) {
  return logits.detach().argmax(1).eq(labels).sum();
}

torch::Tensor EvalSums::of(const torch::Tensor& any_logits, const torch::Tensor& labels) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor logits = at_least_single(any_logits);
  const torch::Tensor loss =
      at::cross_entropy_loss(logits, labels, {}, at::Reduction::None).to(torch::kFloat64);
  const torch::Tensor rank = label_rank(logits, labels);
  const torch::Tensor is_number = loss.isnan().logical_not();
  const torch::Tensor top1 = rank.eq(0).logical_and(is_number);
  const torch::Tensor top5 = rank.lt(5).logical_and(is_number);
  const auto count = [](const torch::Tensor& which) { return which.sum().to(torch::kFloat64); };
  return torch::stack({count(torch::ones_like(rank)), loss.sum(), count(top1), count(top5),
                       loss.neg().exp().masked_fill(top1.logical_not(), 0).sum()});
}

EvalSums EvalSums::from(const torch::Tensor& values) {
  const torch::Tensor host = values.to(torch::kCPU, torch::kFloat64).contiguous();
  LARGO_CHECK(host.numel() == 5, host.numel(), " values");
  const double* const v = host.data_ptr<double>();
  return {.samples = v[0], .loss = v[1], .top1 = v[2], .top5 = v[3], .confidence = v[4]};
}

}  // namespace largo::nn
