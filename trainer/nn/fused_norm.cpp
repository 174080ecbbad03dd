#include "trainer/nn/fused_norm.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "comm/base/error.h"
#include "trainer/nn/fused_sets.h"

namespace largo::nn {

namespace {

constexpr at::MemoryFormat kLast = at::MemoryFormat::ChannelsLast;

using Chunk = ImageChunks::Chunk;
using Given = std::optional<torch::Tensor>;

torch::Tensor value(const Given& given) { return given.value_or(torch::Tensor()); }

// With x's very strides: at::empty_like takes NCHW's where there is one channel.
torch::Tensor empty_as(const torch::Tensor& x) {
  return torch::empty_strided(x.sizes(), x.strides(), x.options());
}

struct FusedNormalize : torch::autograd::Function<FusedNormalize> {
  using Context = torch::autograd::AutogradContext;

  // Without mean and variance they are those of x's sets, taken here.
  static torch::Tensor forward(Context* context, const torch::Tensor& x, const Given& added,
                               const Given& weight, const Given& bias, const Given& mean,
                               const Given& variance,
                               const c10::intrusive_ptr<FusedSetting>& setting) {
    const ImageChunks chunks(x, setting->set_samples);
    std::optional<SetMoments> statistics;
    if (!mean) statistics.emplace(chunks, x, setting->groups);
    const bool at_once = chunks.per_set() == 1;  // while a set is in cache
    if (statistics && !at_once) statistics->take_all();
    const SetParameters parameters = {mean ? *mean : statistics->mean,
                                      variance ? *variance : statistics->variance, value(weight),
                                      value(bias)};
    const torch::Tensor residual = value(added);
    const torch::Tensor y = empty_as(x);
    chunks.for_each([&](const Chunk& chunk) {
      if (statistics && at_once) {
        statistics->take(chunk);
        statistics->finish(chunk.set);
      }
      const SetLine line(*setting, chunks.channels(), parameters.of(chunk.set));
      normalize_rows(chunk.size, line.line(), chunk.in(x), chunk.in(residual), setting->relu,
                     chunk.out(y));
    });
    context->save_for_backward({x, parameters.mean, parameters.variance, parameters.weight,
                                parameters.bias,
                                setting->relu && residual.defined() ? y : torch::Tensor()});
    context->saved_data["setting"] = c10::IValue::make_capsule(setting);
    return y;
  }

  static torch::autograd::variable_list backward(Context* context,
                                                 torch::autograd::variable_list grads) {
    LARGO_CHECK(!torch::GradMode::is_enabled(), "fused normalization has no second derivative");
    const auto saved = context->get_saved_variables();
    const torch::Tensor &x = saved[0], &y = saved[5];
    const SetParameters parameters = {saved[1], saved[2], saved[3], saved[4]};
    const auto capsule = context->saved_data["setting"].toCapsule();
    const auto& setting = static_cast<const FusedSetting&>(*capsule);
    const torch::Tensor dy = grads[0].to(x.scalar_type()).contiguous(kLast);

    const ImageChunks chunks(x, setting.set_samples);
    SetGradientSums sums(chunks);
    const torch::Tensor masked = y.defined() ? empty_as(x) : torch::Tensor();
    const torch::Tensor dx = context->needs_input_grad(0) ? empty_as(x) : torch::Tensor();
    const auto input_gradient = [&](const Chunk& chunk) {
      const SetParts set = parameters.of(chunk.set);
      const SetLine line(setting, chunks.channels(), set);
      const SetGradientLine by(setting, chunks.channels(), setting.counts[chunk.set], set,
                               sums.of_g(chunk.set), sums.of_gx(chunk.set));
      const RowGradient gradient = {.dy = chunk.in(y.defined() ? masked : dy),
                                    .relu = setting.relu && !y.defined()};
      input_gradient_rows(chunk.size, line.line(), by.line(), chunk.in(x), gradient, chunk.out(dx));
    };

    const bool at_once = chunks.per_set() == 1 && setting.group == nullptr;
    chunks.for_each([&](const Chunk& chunk) {
      const SetParts set = parameters.of(chunk.set);
      const SetLine line(setting, chunks.channels(), set);
      double* const part = sums.part(chunk.index);
      gradient_sums(chunk.size, line.line(), chunk.in(x),
                    {.dy = chunk.in(dy), .relu = setting.relu, .y = chunk.in(y)}, chunk.out(masked),
                    part, part + chunks.channels());
      if (!at_once) return;
      sums.finish(setting, chunk.set, set);
      if (dx.defined()) input_gradient(chunk);
    });
    if (!at_once) {
      for (int64_t set = 0; set < chunks.sets(); ++set) {
        sums.finish(setting, set, parameters.of(set));
      }
    }
    const torch::Tensor dweight = parameters.weight.defined() ? sums.total_gx() : torch::Tensor();
    const torch::Tensor dbias = parameters.bias.defined() ? sums.total_g() : torch::Tensor();
    if (!at_once && dx.defined()) {
      if (setting.group != nullptr) setting.group->all_reduce(sums.sums).wait();
      chunks.for_each(input_gradient);
    }
    const torch::Tensor dresidual = y.defined() ? masked : dy;
    return {dx, setting.residual ? dresidual : torch::Tensor(), dweight, dbias, {}, {}, {}};
  }
};

Given if_defined(const torch::Tensor& tensor) {
  return tensor.defined() ? Given(tensor) : std::nullopt;
}

c10::intrusive_ptr<FusedSetting> setting_of(int64_t set_samples, int64_t groups, double epsilon,
                                            const Epilogue& then) {
  auto setting = c10::make_intrusive<FusedSetting>();
  setting->set_samples = set_samples;
  setting->groups = groups;
  setting->epsilon = epsilon;
  setting->relu = then.relu;
  setting->residual = then.residual.defined();
  return setting;
}

Given residual_for(const torch::Tensor& x, const Epilogue& then) {
  if (!then.residual.defined()) return std::nullopt;
  return then.residual.to(x.scalar_type()).contiguous(kLast);
}

std::vector<int64_t> counts_of(const ImageChunks& chunks) {
  std::vector<int64_t> counts(static_cast<size_t>(chunks.sets()));
  for (int64_t set = 0; set < chunks.sets(); ++set) counts[set] = chunks.rows_of_set(set);
  return counts;
}

}  // namespace

bool can_fuse(const torch::Tensor& x) {
  return x.is_cpu() && x.dim() == 4 && x.is_contiguous(kLast) &&
         (x.scalar_type() == torch::kFloat32 || x.scalar_type() == torch::kBFloat16);
}

SetStatistics fused_statistics(const torch::Tensor& x, int64_t set_samples) {
  const torch::NoGradGuard no_grad;
  const ImageChunks chunks(x, set_samples);
  SetMoments statistics(chunks, x, x.size(1));
  statistics.take_all();
  return {.mean = statistics.mean, .variance = statistics.variance, .counts = counts_of(chunks)};
}

torch::Tensor fused_normalize(const torch::Tensor& x, int64_t set_samples,
                              const SetStatistics& statistics, const torch::Tensor& weight,
                              const torch::Tensor& bias, double epsilon, const Epilogue& then) {
  const auto setting = setting_of(set_samples, x.size(1), epsilon, then);
  setting->counts = statistics.counts;
  setting->group = statistics.group;
  return FusedNormalize::apply(x, residual_for(x, then), if_defined(weight), if_defined(bias),
                               Given(statistics.mean), Given(statistics.variance), setting);
}

torch::Tensor fused_affine(const torch::Tensor& x, const torch::Tensor& mean,
                           const torch::Tensor& variance, const torch::Tensor& weight,
                           const torch::Tensor& bias, double epsilon, const Epilogue& then) {
  const auto setting = setting_of(std::max<int64_t>(1, x.size(0)), x.size(1), epsilon, then);
  setting->of_x = false;
  setting->counts = {1};
  const auto row = [](const torch::Tensor& values) {
    return Given(values.to(torch::kFloat64).unsqueeze(0));
  };
  return FusedNormalize::apply(x, residual_for(x, then), if_defined(weight), if_defined(bias),
                               row(mean), row(variance), setting);
}

torch::Tensor fused_group_norm(const torch::Tensor& x, int64_t groups, const torch::Tensor& weight,
                               const torch::Tensor& bias, double epsilon, const Epilogue& then) {
  const auto setting = setting_of(/*set_samples=*/1, groups, epsilon, then);
  setting->counts = counts_of(ImageChunks(x, 1));
  return FusedNormalize::apply(x, residual_for(x, then), if_defined(weight), if_defined(bias),
                               Given(), Given(), setting);
}

}  // namespace largo::nn
