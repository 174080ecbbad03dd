#include "trainer/nn/sample_sets.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "trainer/nn/host_values.h"

namespace largo::nn {

namespace {

// Calls use(first set, sets, first sample, samples per set) for the full sets and for a smaller
// last one, as far as there are such.
template <typename Use>
void for_each_run(int64_t samples, int64_t set_samples, const Use& use) {
  const int64_t full = samples / set_samples;
  const int64_t rest = samples % set_samples;
  if (full > 0) use(int64_t{0}, full, int64_t{0}, set_samples);
  if (rest > 0) use(full, int64_t{1}, full * set_samples, rest);
}

// The samples of a run as [sets, samples per set, height, width, channels]. With the channels last
// in the shape one pass broadcasts over them at full speed, in either memory format.
torch::Tensor run_of(const torch::Tensor& x, int64_t sets, int64_t first_sample,
                     int64_t set_samples) {
  return x.narrow(0, first_sample, sets * set_samples)
      .unflatten(0, {sets, set_samples})
      .permute({0, 1, 3, 4, 2});
}

// [sets, channels] as what broadcasts over a run.
torch::Tensor wide(const torch::Tensor& values, int64_t first_set, int64_t sets) {
  return values.narrow(0, first_set, sets).view({sets, 1, 1, 1, values.size(1)});
}

// scale * x + shift with one scale and shift per set and channel, in x's memory format. Not a view,
// so that the caller's in-place operations are differentiable.
torch::Tensor affine(const torch::Tensor& x, int64_t set_samples, const torch::Tensor& scale,
                     const torch::Tensor& shift) {
  const torch::Tensor y = torch::empty_like(x);
  const torch::Tensor a = scale.to(x.scalar_type());
  const torch::Tensor b = shift.to(x.scalar_type());
  for_each_run(x.size(0), set_samples, [&](int64_t set, int64_t sets, int64_t sample, int64_t n) {
    torch::Tensor out = run_of(y, sets, sample, n);
    at::addcmul_out(out, wide(b, set, sets), run_of(x, sets, sample, n), wide(a, set, sets));
  });
  return y;
}

// y += scale * x
void add_scaled(const torch::Tensor& y, const torch::Tensor& x, int64_t set_samples,
                const torch::Tensor& scale) {
  const torch::Tensor a = scale.to(x.scalar_type());
  for_each_run(x.size(0), set_samples, [&](int64_t set, int64_t sets, int64_t sample, int64_t n) {
    run_of(y, sets, sample, n).addcmul_(run_of(x, sets, sample, n), wide(a, set, sets));
  });
}

// Sets of fewer values than this are summed together: a call of the kernel for each would cost more
// than its arithmetic. On a GPU all are: its version of the kernel has no evaluation mode without
// saved statistics, and one launch for all sets is faster than one for each.
constexpr int64_t kSmallSet = 65536;

// Per set and channel the sums of dy and of dy * z: [2, sets, channels], float64.
torch::Tensor set_sums(const torch::Tensor& dy, const torch::Tensor& z, int64_t set_samples,
                       int64_t set_count) {
  const int64_t channels = z.size(1);
  const torch::Tensor sums =
      torch::zeros({2, set_count, channels}, z.options().dtype(torch::kFloat64));
  const torch::Tensor zeros = torch::zeros({channels}, z.options());
  const torch::Tensor ones = torch::ones({channels}, z.options());
  for_each_run(z.size(0), set_samples, [&](int64_t set, int64_t sets, int64_t sample, int64_t n) {
    if (!z.is_cpu() || n * z[0].numel() < kSmallSet) {
      const torch::Tensor dy_run = run_of(dy, sets, sample, n);
      sums[0].narrow(0, set, sets).copy_(dy_run.sum({1, 2, 3}));
      sums[1].narrow(0, set, sets).copy_((dy_run * run_of(z, sets, sample, n)).sum({1, 2, 3}));
      return;
    }
    for (int64_t i = 0; i < sets; ++i) {
      // The kernel's evaluation mode gives both in one pass: here of dy * (z - 0) / sqrt(1 + 0).
      const auto [unused, dy_z, sum_dy] = at::native_batch_norm_backward(
          dy.narrow(0, sample + i * n, n), z.narrow(0, sample + i * n, n), {}, zeros, ones, {}, {},
          /*train=*/false, /*eps=*/0, {false, true, true});
      sums[0][set + i].copy_(sum_dy);
      sums[1][set + i].copy_(dy_z);
    }
  });
  return sums;
}

torch::Tensor column(const std::vector<int64_t>& counts, torch::Device device) {
  const std::vector<double> values(counts.begin(), counts.end());
  return host_values(values, device).unsqueeze(1);  // [sets, 1]
}

// What backward needs besides tensors.
struct Setting : torch::CustomClassHolder {
  Setting(int64_t set_samples, double epsilon, comm::Communicator* group)
      : set_samples(set_samples), epsilon(epsilon), group(group) {}
  int64_t set_samples;
  double epsilon;
  comm::Communicator* group;
};

// x and z differ by the pivot, of which the result does not depend.
struct Normalize : torch::autograd::Function<Normalize> {
  using Context = torch::autograd::AutogradContext;

  // offset = mean - pivot.
  static torch::Tensor forward(Context* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias,
                               const torch::Tensor& z, const torch::Tensor& offset,
                               const torch::Tensor& variance, const torch::Tensor& counts,
                               const c10::intrusive_ptr<Setting>& setting) {
    context->save_for_backward({z, weight, offset, variance, counts});
    context->saved_data["setting"] = c10::IValue::make_capsule(setting);
    const torch::Tensor scale = weight * (variance + setting->epsilon).rsqrt();
    return affine(z, setting->set_samples, scale, bias - offset * scale).to(x.scalar_type());
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor &z = saved[0], &weight = saved[1], &offset = saved[2];
    const torch::Tensor &variance = saved[3], &counts = saved[4];
    const auto capsule = context->saved_data["setting"].toCapsule();
    const auto& setting = static_cast<const Setting&>(*capsule);
    const torch::Tensor dy = grads[0].to(z.scalar_type()).contiguous(z.suggest_memory_format());

    const torch::Tensor inverse_sigma = (variance + setting.epsilon).rsqrt();
    torch::Tensor sums = set_sums(dy, z, setting.set_samples, offset.size(0));
    // From the sum of dy * z to that of dy * xhat.
    sums[1].addcmul_(sums[0], offset, -1).mul_(inverse_sigma);

    const torch::Tensor dweight = sums[1].sum(0).to(weight.scalar_type());
    const torch::Tensor dbias = sums[0].sum(0).to(weight.scalar_type());

    torch::Tensor dx;
    if (context->needs_input_grad(0)) {
      if (setting.group != nullptr) setting.group->all_reduce(sums).wait();
      const torch::Tensor mean_dy = sums[0] / counts;
      const torch::Tensor mean_dy_xhat = sums[1] / counts;
      // dx = weight / sigma * (dy - mean(dy) - xhat * mean(dy * xhat)), as a * dy + b * z + c.
      const torch::Tensor a = weight * inverse_sigma;
      const torch::Tensor b = -a * inverse_sigma * mean_dy_xhat;
      const torch::Tensor c = -a * mean_dy - b * offset;
      dx = affine(z, setting.set_samples, b, c);
      add_scaled(dx, dy, setting.set_samples, a);
      dx = dx.to(grads[0].scalar_type());
    }
    return {dx, dweight, dbias, {}, {}, {}, {}, {}};
  }
};

// [sets, channels]: the mean of each image's middle row. It lies at most sqrt(height) standard
// deviations from the set's mean, and seldom as much as one.
torch::Tensor pivot_of(const torch::Tensor& x, int64_t set_samples, int64_t set_count) {
  const torch::Tensor pivot = torch::zeros({set_count, x.size(1)}, x.options());
  const torch::Tensor row = x.select(2, x.size(2) / 2).mean(2);  // [n, channels]
  for_each_run(x.size(0), set_samples, [&](int64_t set, int64_t sets, int64_t sample, int64_t n) {
    const torch::Tensor run = row.narrow(0, sample, sets * n).unflatten(0, {sets, n});
    pivot.narrow(0, set, sets).copy_(run.mean(1));
  });
  return pivot;
}

std::vector<int64_t> counts_of(const torch::Tensor& x, int64_t set_samples, int64_t set_count) {
  std::vector<int64_t> counts(set_count);
  for_each_run(x.size(0), set_samples, [&](int64_t set, int64_t sets, int64_t, int64_t n) {
    std::fill_n(counts.begin() + set, sets, n * x.size(2) * x.size(3));
  });
  return counts;
}

}  // namespace

SampleSets make_sets(const torch::Tensor& images, int64_t set_samples) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = images.detach().to(
      at::isReducedFloatingType(images.scalar_type()) ? torch::kFloat32 : images.scalar_type());
  const int64_t set_count = std::max<int64_t>(1, (x.size(0) + set_samples - 1) / set_samples);
  const torch::Tensor pivot = pivot_of(x, set_samples, set_count);
  const torch::Tensor z = torch::empty_like(x);
  for_each_run(x.size(0), set_samples, [&](int64_t set, int64_t sets, int64_t sample, int64_t n) {
    torch::Tensor out = run_of(z, sets, sample, n);
    at::sub_out(out, run_of(x, sets, sample, n), wide(pivot, set, sets));
  });

  // Of an empty set the sums are zero, whatever they are divided by.
  std::vector<int64_t> counts = counts_of(x, set_samples, set_count);
  const torch::Tensor divisor = column(counts, x.device()).clamp_min(1);
  const torch::Tensor sums = set_sums(z, z, set_samples, set_count);
  const torch::Tensor mean_z = sums[0] / divisor;
  const torch::Tensor exact_pivot = pivot.to(torch::kFloat64);
  return {.z = z,
          .pivot = exact_pivot,
          .set_samples = set_samples,
          .statistics = {.mean = exact_pivot + mean_z,
                         .variance = (sums[1] / divisor - mean_z.square()).clamp_min(0),
                         .counts = std::move(counts)}};
}

Moments moments_of(const torch::Tensor& images) {
  const SetStatistics all = make_sets(images, std::max<int64_t>(1, images.size(0))).statistics;
  return {all.counts[0], all.mean[0], all.variance[0]};
}

torch::Tensor normalize(const torch::Tensor& x, const SampleSets& sets,
                        const SetStatistics& statistics, const torch::Tensor& weight,
                        const torch::Tensor& bias, double epsilon) {
  const int64_t channels = x.size(1);
  return Normalize::apply(
      x, weight.defined() ? weight : torch::ones({channels}, sets.z.options()),
      bias.defined() ? bias : torch::zeros({channels}, sets.z.options()), sets.z,
      statistics.mean - sets.pivot, statistics.variance, column(statistics.counts, x.device()),
      c10::make_intrusive<Setting>(sets.set_samples, epsilon, statistics.group));
}

}  // namespace largo::nn
