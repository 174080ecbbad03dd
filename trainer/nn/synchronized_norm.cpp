#include "trainer/nn/synchronized_norm.h"

#include <limits>
#include <vector>

#include "comm/base/error.h"
#include "trainer/nn/host_values.h"

namespace largo::nn {

namespace {

torch::Dtype accumulation_type(const torch::Tensor& x) {
  return x.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

torch::Tensor dense(const torch::Tensor& x) { return x.contiguous(x.suggest_memory_format()); }

// What backward needs besides tensors.
struct Setting : torch::CustomClassHolder {
  Setting(const BatchNormKernels& kernels, comm::Communicator& group)
      : kernels(kernels), group(group) {}
  BatchNormKernels kernels;
  comm::Communicator& group;
};

struct SynchronizedNormalize : torch::autograd::Function<SynchronizedNormalize> {
  using Context = torch::autograd::AutogradContext;

  static torch::Tensor forward(Context* context, const torch::Tensor& images,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const torch::Tensor& mean, const torch::Tensor& inverse_sigma,
                               const torch::Tensor& counts,
                               const c10::intrusive_ptr<Setting>& setting) {
    const torch::Tensor x = dense(images);
    context->save_for_backward({x, weight, mean, inverse_sigma, counts});
    context->saved_data["setting"] = c10::IValue::make_capsule(setting);
    if (x.numel() == 0) return torch::empty_like(x);
    return setting->kernels.normalize(x, weight.to(mean.scalar_type()), bias.to(mean.scalar_type()),
                                      mean, inverse_sigma);
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &mean = saved[2], &inverse_sigma = saved[3];
    const torch::Tensor& counts = saved[4];
    const torch::Tensor weight = saved[1].to(mean.scalar_type());
    const auto capsule = context->saved_data["setting"].toCapsule();
    const auto& setting = static_cast<const Setting&>(*capsule);
    const torch::Tensor dy = grads[0].contiguous(x.suggest_memory_format());
    const bool any = x.numel() > 0;

    const torch::Tensor zeros = torch::zeros_like(mean);
    auto [sum_dy, sum_dy_xmu, dweight, dbias] =
        any ? setting.kernels.sums(dy, x, mean, inverse_sigma, weight)
            : std::tuple(zeros, zeros, zeros, zeros);

    torch::Tensor dx;
    if (context->needs_input_grad(0)) {
      const torch::Tensor sums = torch::stack({sum_dy, sum_dy_xmu});
      setting.group.all_reduce(sums).wait();
      dx = any ? setting.kernels.input_gradient(dy, x, mean, inverse_sigma, weight, sums[0],
                                                sums[1], counts)
               : torch::empty_like(x);
    }
    const torch::Dtype dtype = saved[1].scalar_type();
    return {dx, dweight.to(dtype), dbias.to(dtype), {}, {}, {}, {}};
  }
};

// [2, channels] of this rank's values; zeros where it has none.
torch::Tensor local_moments(const BatchNormKernels& kernels, const torch::Tensor& x) {
  if (x.numel() == 0) {
    return torch::zeros({2, x.size(1)}, x.options().dtype(accumulation_type(x)));
  }
  const auto [mean, variance] = kernels.statistics(dense(x));
  return torch::stack({mean, variance});
}

std::vector<int32_t> narrow(std::span<const int64_t> counts) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  std::vector<int32_t> narrowed;
  for (const int64_t count : counts) {
    LARGO_CHECK(count <= kMost, count, " values per channel on one rank; legal: at most ", kMost);
    narrowed.push_back(static_cast<int32_t>(count));
  }
  return narrowed;
}

}  // namespace

SynchronizedNorm synchronized_norm(const BatchNormKernels& kernels, const torch::Tensor& x,
                                   std::span<const int64_t> counts, const torch::Tensor& weight,
                                   const torch::Tensor& bias, double epsilon,
                                   comm::Communicator& group) {
  const torch::TensorOptions options = x.options().dtype(accumulation_type(x));
  Moments moments;
  torch::Tensor mean, inverse_sigma;
  {
    const torch::NoGradGuard no_grad;
    const torch::Tensor all =  // [ranks, 2, channels]
        group.all_gather(local_moments(kernels, x.detach())).to(torch::kFloat64);
    moments = pool(counts, all.select(1, 0), all.select(1, 1));
    mean = moments.mean.to(options.dtype());
    inverse_sigma = (moments.variance + epsilon).rsqrt().to(options.dtype());
  }
  const torch::Tensor y = SynchronizedNormalize::apply(
      x, weight.defined() ? weight : torch::ones({x.size(1)}, options),
      bias.defined() ? bias : torch::zeros({x.size(1)}, options), mean, inverse_sigma,
      host_values(narrow(counts), x.device()), c10::make_intrusive<Setting>(kernels, group));
  return {y, moments};
}

}  // namespace largo::nn
