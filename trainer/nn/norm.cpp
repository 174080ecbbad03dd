#include "trainer/nn/norm.h"

#include "comm/base/error.h"
#include "trainer/nn/batch_norm.h"
#include "trainer/nn/group_norm.h"
#include "trainer/nn/sample_sets.h"
#include "trainer/nn/sync_batch_norm.h"

namespace largo::nn {

Norm::Norm(const NormOptions& options, int64_t channels)
    : epsilon_(options.epsilon), fused_(options.fused) {
  if (!options.affine) return;
  weight = register_parameter("weight", torch::ones({channels}));
  bias = register_parameter("bias", torch::zeros({channels}));
}

torch::Tensor Norm::forward_empty(const torch::Tensor& x) const {
  if (!weight.defined()) return x.clone();
  return (x * weight.view({1, -1, 1, 1}) + bias.view({1, -1, 1, 1})).to(x.scalar_type());
}

bool Norm::fuses(const torch::Tensor& x) const {
  return fused_ && can_fuse(x) && (!weight.defined() || weight.scalar_type() == torch::kFloat32);
}

torch::Tensor follow(torch::Tensor y, const Epilogue& then) {
  if (then.residual.defined()) y.add_(then.residual);
  return then.relu ? y.relu_() : y;
}

GroupNorm::GroupNorm(const NormOptions& options, int64_t channels, int64_t groups)
    : Norm(options, channels), groups_(groups) {
  LARGO_CHECK(groups_ > 0 && channels % groups_ == 0, groups_, " groups, ", channels, " channels");
}

torch::Tensor GroupNorm::forward_then(const torch::Tensor& x, const StepContext&,
                                      const Epilogue& then) {
  if (x.size(0) == 0) return follow(forward_empty(x), then);
  if (fuses(x)) return fused_group_norm(x, groups_, weight, bias, epsilon(), then);
  return follow(plain(x), then);
}

torch::Tensor GroupNorm::plain(const torch::Tensor& x) const {
  if (!x.is_cpu()) return group_norm(x, groups_, weight, bias, epsilon());
  // ATen's channels_last kernel on the CPU vectorizes over the channels of a group: below eight of
  // them the way through NCHW, both copies included, takes a third to a sixth of the time.
  if (x.size(1) / groups_ < 8 && x.is_contiguous(at::MemoryFormat::ChannelsLast)) {
    return at::group_norm(x.contiguous(), groups_, weight, bias, epsilon())
        .contiguous(at::MemoryFormat::ChannelsLast);
  }
  return at::group_norm(x, groups_, weight, bias, epsilon());
}

torch::Tensor InstanceNorm::forward_then(const torch::Tensor& x, const StepContext&,
                                         const Epilogue& then) {
  if (x.size(0) == 0) return follow(forward_empty(x), then);
  if (fuses(x)) return fused_group_norm(x, x.size(1), weight, bias, epsilon(), then);
  if (!x.is_cpu()) return follow(group_norm(x, x.size(1), weight, bias, epsilon()), then);
  const SampleSets sets = make_sets(x, /*set_samples=*/1);
  return follow(normalize(x, sets, sets.statistics, weight, bias, epsilon()), then);
}

NoNorm::NoNorm(const NormOptions& options, int64_t channels)
    : Norm({.epsilon = options.epsilon, .affine = false}, channels) {}

torch::Tensor NoNorm::forward_then(const torch::Tensor& x, const StepContext&,
                                   const Epilogue& then) {
  return follow(x, then);
}

std::shared_ptr<Norm> make_norm(const NormOptions& options, int64_t channels,
                                comm::Communicator& group) {
  switch (options.kind) {
    case NormKind::kBatch:
      return std::make_shared<RankBatchNorm>(options, channels);
    case NormKind::kSyncBatch:
      return std::make_shared<SyncBatchNorm>(options, channels, group);
    case NormKind::kGhostBatch:
      return std::make_shared<GhostBatchNorm>(options, channels);
    case NormKind::kGroup:
      return std::make_shared<GroupNorm>(options, channels, group_count(options, channels));
    case NormKind::kLayer:
      return std::make_shared<GroupNorm>(options, channels, 1);
    case NormKind::kInstance:
      return std::make_shared<InstanceNorm>(options, channels);
    case NormKind::kNone:
      return std::make_shared<NoNorm>(options, channels);
  }
  LARGO_CHECK(false, "norm kind ", static_cast<int>(options.kind));
}

}  // namespace largo::nn
