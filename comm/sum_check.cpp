#include "comm/sum_check.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>
#include <limits>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

double epsilon_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return std::numeric_limits<double>::epsilon();
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    case at::kBFloat16:
      return 0x1p-8;  // eight bits of significand
    default:
      LARGO_CHECK(false, "sums of ", at::toString(dtype));
  }
}

// Values that are wrong; one that is no number must be none in both.
int64_t wrong_values(const at::Tensor& sum, const at::Tensor& want, const at::Tensor& slack) {
  const at::Tensor close = (sum - want).abs().le(slack);
  const at::Tensor alike =
      close.logical_or(sum.eq(want)).logical_or(sum.isnan().logical_and(want.isnan()));
  return alike.numel() - alike.sum().item<int64_t>();
}

}  // namespace

void SumCheck::keep(const at::Tensor& part) {
  // To the host first: the device's memory is about to change.
  parts_.push_back(part.detach()
                       .to(at::kCPU, part.scalar_type(), /*non_blocking=*/false,
                           /*copy=*/true)
                       .to(at::kDouble));
}

bool SumCheck::compare(std::span<const at::Tensor> sums) {
  LARGO_CHECK(sums.size() == parts_.size(), sums.size(), " sums of ", parts_.size(), " parts");
  std::vector<int64_t> wrong;
  for (size_t b = 0; b < sums.size(); ++b) {
    const at::Tensor sum = sums[b].detach().to(at::kCPU).to(at::kDouble);
    const at::Tensor want = parts_[b];
    const at::Tensor magnitude = want.abs();
    host_.all_reduce(want).wait();
    host_.all_reduce(magnitude).wait();
    // Every addition rounds once, in the worst case always in the same direction.
    const double units =
        std::expm1((host_.size() + 2) * std::log1p(epsilon_of(sums[b].scalar_type())));
    wrong.push_back(wrong_values(sum, want, magnitude * units));
  }
  parts_.clear();
  const at::Tensor of_all = host_.all_gather(at::tensor(wrong, at::kLong));  // [ranks, buckets]
  for (int64_t b = 0; b < of_all.size(1); ++b) {
    for (int64_t r = 0; r < of_all.size(0); ++r) {
      const auto count = of_all[r][b].item<int64_t>();
      if (count == 0) continue;
      throw AgreedError(
          ExitCode::kUnavailable,
          concat("the sum of gradients over ranks is wrong: of bucket ", b, " rank ", r, " got ",
                 count, " of ", sums[static_cast<size_t>(b)].numel(),
                 " values that MPI on the host adds up otherwise. NCCL, its network or a GPU is at "
                 "fault; comm.backend=mpi trains without it (comm.verify_steps: 0 leaves this "
                 "check out)"));
    }
  }
  return --steps_left_ > 0;
}

}  // namespace largo::comm
