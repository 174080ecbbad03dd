#include "trainer/nonfinite_report.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "comm/base/error.h"
#include "trainer/divergence.h"
#include "trainer/nn/state.h"

namespace largo {

namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

Json gradients(const nn::Model& model, const comm::GradientReducer& reducer) {
  const std::vector<nn::NamedParameter> parameters = nn::named_parameters(model);
  LARGO_CHECK(parameters.size() == reducer.gradients().size(), parameters.size(),
              " parameters and ", reducer.gradients().size(), " gradients");
  Json list = Json::array();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor gradient = reducer.gradients()[i].cpu().to(at::kDouble);
    const int64_t bad = gradient.numel() - at::isfinite(gradient).sum().item<int64_t>();
    list.push_back({{"name", parameters[i].name},
                    {"norm", number(at::linalg_vector_norm(gradient, 2).item<double>())},
                    {"not_finite", bad},
                    {"of", gradient.numel()}});
  }
  return list;
}

Json tensors_not_finite(const nn::Model& model) {
  Json names = Json::array();
  for (const NotFinite& bad : not_finite(nn::state_tensors(model))) names.push_back(bad.name);
  return names;
}

Json samples(int64_t step, const BatchPlan& plan, data::Sampler& sampler) {
  Json list = Json::array();
  for (int64_t rank = 0; rank < plan.world(); ++rank) {
    for (int64_t micro = 0; micro < plan.accumulation(); ++micro) {
      const SampleSpan span = plan.part(step, micro, rank);
      std::vector<int64_t> indices;
      indices.reserve(static_cast<size_t>(span.count));
      for (const SampleKey& key : sampler.keys(span.first, span.count)) {
        indices.push_back(key.index);
      }
      list.push_back({{"rank", rank}, {"micro_batch", micro}, {"indices", std::move(indices)}});
    }
  }
  return list;
}

}  // namespace

std::string report_name(const NonfiniteStep& step) {
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "nonfinite-step-%08lld.json",
                static_cast<long long>(step.step));
  return name.data();
}

std::string nonfinite_report(const NonfiniteStep& step, const BatchPlan& plan,
                             data::Sampler sampler, const nn::Model& model,
                             const comm::GradientReducer& reducer) {
  const at::NoGradGuard no_grad;
  double loss_sum = 0;
  Json by_rank = Json::array();
  for (const double sum : step.loss_sum_by_rank) {
    loss_sum += sum;
    by_rank.push_back(number(sum));
  }
  const auto count = static_cast<double>(plan.samples_in_step(step.seen_in_step - 1));
  Json json = {{"found_in", step.in_weights ? "weights" : "gradient"},
               {"step", step.step},
               {"epoch", plan.epoch_at(step.step - 1)},
               {"lr", number(step.lr)},
               {"grad_norm", number(step.grad_norm)},
               {"skipped_in_a_row", step.skipped_in_a_row},
               {"seen_in_step", step.seen_in_step},
               {"loss", number(loss_sum / count)},
               {"loss_sum_by_rank", std::move(by_rank)},
               {"not_finite", tensors_not_finite(model)},
               {"gradients", gradients(model, reducer)},
               {"samples", samples(step.step - 1, plan, sampler)}};
  return json.dump(1) + "\n";
}

std::string write_nonfinite_report(const NonfiniteStep& step, const BatchPlan& plan,
                                   data::Sampler sampler, const nn::Model& model,
                                   const comm::GradientReducer& reducer,
                                   metrics::Recorder& recorder) {
  try {
    const std::filesystem::path file = recorder.write_file(
        report_name(step), nonfinite_report(step, plan, std::move(sampler), model, reducer));
    return file.empty() ? std::string() : "its samples and norms are in " + file.string();
  } catch (const std::exception& error) {
    return concat("there is no report of it: ", error.what());
  }
}

}  // namespace largo
