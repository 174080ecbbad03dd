#include "trainer/nn/group_norm.h"

#include <tuple>

namespace largo::nn {

namespace {

// [n, height, width, groups, channels / groups], a view whatever x's memory format.
torch::Tensor by_group(const torch::Tensor& x, int64_t groups) {
  return x.permute({0, 2, 3, 1}).unflatten(3, {groups, x.size(1) / groups});
}

// What broadcasts over that: [n, groups] or [channels].
torch::Tensor wide(const torch::Tensor& per_group) {
  return per_group.view({per_group.size(0), 1, 1, per_group.size(1), 1});
}
torch::Tensor wide(const torch::Tensor& per_channel, int64_t groups) {
  return per_channel.view({groups, -1});
}

// One pass: shift + scale * value in a tensor with the strides of `like` but for its dtype.
torch::Tensor affine(const torch::Tensor& like, int64_t groups, const torch::Tensor& shift,
                     const torch::Tensor& value, const torch::Tensor& scale) {
  const torch::Tensor y = torch::empty_like(like, value.scalar_type());
  torch::Tensor out = by_group(y, groups);
  at::addcmul_out(out, shift, value, scale);
  return y;
}

struct GroupNormalize : torch::autograd::Function<GroupNormalize> {
  using Context = torch::autograd::AutogradContext;

  static torch::Tensor forward(Context* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               int64_t groups, double epsilon) {
    const torch::Dtype dtype =
        x.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
    const torch::Tensor values = by_group(x.to(dtype), groups);
    const auto [variance, mean] =
        at::var_mean(values, at::IntArrayRef({1, 2, 4}), /*correction=*/0);  // [n, groups]
    const torch::Tensor inverse_sigma = (variance + epsilon).rsqrt();
    context->save_for_backward({x, weight, mean, inverse_sigma});
    context->saved_data["groups"] = groups;
    // Centered first: weight / sigma * x and its shift would cancel where the mean is large.
    const torch::Tensor scale = wide(weight.to(dtype), groups) * wide(inverse_sigma);
    return affine(x, groups, wide(bias.to(dtype), groups), values - wide(mean), scale)
        .to(x.scalar_type());
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &mean = saved[2], &inverse_sigma = saved[3];
    const int64_t groups = context->saved_data["groups"].toInt();
    const torch::Dtype dtype = mean.scalar_type();
    const torch::Tensor weight = wide(saved[1].to(dtype), groups);
    const torch::Tensor dy = by_group(grads[0].to(dtype), groups);
    const torch::Tensor centered = by_group(x.to(dtype), groups) - wide(mean);

    // [n, groups, channels / groups]
    const torch::Tensor sum_dy = dy.sum({1, 2});
    const torch::Tensor sum_dy_xhat = (dy * centered).sum({1, 2}) * inverse_sigma.unsqueeze(2);

    torch::Tensor dx;
    if (context->needs_input_grad(0)) {
      // dx = 1 / sigma * (weight * dy - mean(weight * dy) - xhat * mean(weight * dy * xhat))
      const auto count = static_cast<double>(x.numel() / mean.numel());
      const torch::Tensor mean_dy = (sum_dy * weight).sum(2) / count;
      const torch::Tensor mean_dy_xhat = (sum_dy_xhat * weight).sum(2) / count;
      const torch::Tensor shift = at::addcmul(wide(-inverse_sigma * mean_dy), centered,
                                              wide(-inverse_sigma.square() * mean_dy_xhat));
      dx = affine(x, groups, shift, dy, weight * wide(inverse_sigma)).to(x.scalar_type());
    }
    return {dx,
            sum_dy_xhat.sum(0).flatten().to(saved[1].scalar_type()),
            sum_dy.sum(0).flatten().to(saved[1].scalar_type()),
            {},
            {}};
  }
};

}  // namespace

torch::Tensor group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                         const torch::Tensor& bias, double epsilon) {
  const torch::TensorOptions options = x.options().requires_grad(false);
  return GroupNormalize::apply(x, weight.defined() ? weight : torch::ones({x.size(1)}, options),
                               bias.defined() ? bias : torch::zeros({x.size(1)}, options), groups,
                               epsilon);
}

}  // namespace largo::nn
