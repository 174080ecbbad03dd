#include "trainer/nn/fused_sets.h"

#include <algorithm>
#include <cmath>

namespace largo::nn {

SetParts SetParameters::of(int64_t set) const {
  const auto floats = [](const torch::Tensor& values) {
    return values.defined() ? values.const_data_ptr<float>() : nullptr;
  };
  const int64_t groups = mean.size(1);
  return {mean.const_data_ptr<double>() + set * groups,
          variance.const_data_ptr<double>() + set * groups, floats(weight), floats(bias)};
}

SetLine::SetLine(const FusedSetting& setting, int64_t channels, const SetParts& set)
    : channels_(channels), values_(static_cast<size_t>(3 * channels)) {
  const int64_t per_group = channels / setting.groups;
  for (int64_t c = 0; c < channels; ++c) {
    const double mean = set.mean[c / per_group];
    const double scale = (set.weight != nullptr ? set.weight[c] : 1) /
                         std::sqrt(set.variance[c / per_group] + setting.epsilon);
    const double bias = set.bias != nullptr ? set.bias[c] : 0;
    const auto pivot = static_cast<float>(mean);
    values_[c] = pivot;
    values_[channels + c] = static_cast<float>(scale);
    values_[2 * channels + c] = static_cast<float>(bias - (mean - pivot) * scale);
  }
}

SetGradientLine::SetGradientLine(const FusedSetting& setting, int64_t channels, int64_t count,
                                 const SetParts& set, const double* sum_g, const double* sum_gx)
    : channels_(channels), values_(static_cast<size_t>(3 * channels)) {
  const int64_t per_group = channels / setting.groups;
  const auto weight = [&](int64_t c) { return set.weight != nullptr ? set.weight[c] : 1; };
  const double share = setting.of_x ? 1 / static_cast<double>(count * per_group) : 0;
  for (int64_t group = 0; group < setting.groups; ++group) {
    const int64_t first = group * per_group, last = first + per_group;
    const double inverse_sigma = 1 / std::sqrt(set.variance[group] + setting.epsilon);
    const double offset = set.mean[group] - static_cast<float>(set.mean[group]);
    double mean_g = 0, mean_gx = 0;
    for (int64_t c = first; c < last; ++c) {
      mean_g += weight(c) * sum_g[c] * share;
      mean_gx += weight(c) * sum_gx[c] * share;
    }
    const double of_z = -inverse_sigma * inverse_sigma * mean_gx;
    const double constant = -inverse_sigma * mean_g - of_z * offset;
    for (int64_t c = first; c < last; ++c) {
      values_[c] = static_cast<float>(weight(c) * inverse_sigma);
      values_[channels + c] = static_cast<float>(of_z);
      values_[2 * channels + c] = static_cast<float>(constant);
    }
  }
}

SetMoments::SetMoments(const ImageChunks& chunks, const torch::Tensor& x, int64_t groups)
    : mean(torch::empty({chunks.sets(), groups}, torch::kFloat64)),
      variance(torch::empty({chunks.sets(), groups}, torch::kFloat64)),
      chunks_(chunks),
      x_(x),
      groups_(groups),
      moments_(static_cast<size_t>(chunks.count() * 2 * chunks.channels())) {}

void SetMoments::take(const ImageChunks::Chunk& chunk) {
  double* const moments = moments_of(chunk.index);
  row_moments(chunk.size, chunk.in(x_), moments, moments + chunks_.channels());
}

void SetMoments::finish(int64_t set) {
  const int64_t channels = chunks_.channels(), first = set * chunks_.per_set();
  double* const all = moments_of(first);
  int64_t rows = chunks_.chunk(first).size.rows;
  for (int64_t index = first + 1; index < first + chunks_.per_set(); ++index) {
    const int64_t more = chunks_.chunk(index).size.rows;
    const double* const moments = moments_of(index);
    merge_moments(channels, rows, all, all + channels, more, moments, moments + channels);
    rows += more;
  }
  pool_channels(rows, all, set);
}

void SetMoments::take_all() {
  chunks_.for_each([&](const ImageChunks::Chunk& chunk) { take(chunk); });
  for (int64_t set = 0; set < chunks_.sets(); ++set) finish(set);
}

void SetMoments::pool_channels(int64_t rows, const double* moments, int64_t set) {
  const int64_t channels = chunks_.channels(), per_group = channels / groups_;
  double* const means = mean.mutable_data_ptr<double>() + set * groups_;
  double* const variances = variance.mutable_data_ptr<double>() + set * groups_;
  for (int64_t group = 0; group < groups_; ++group) {
    double m2 = 0;
    means[group] = 0;
    for (int64_t k = 0; k < per_group; ++k) {
      const int64_t c = group * per_group + k;
      merge_moments(1, k * rows, &means[group], &m2, rows, moments + c, moments + channels + c);
    }
    variances[group] = m2 / static_cast<double>(std::max<int64_t>(1, rows * per_group));
  }
}

SetGradientSums::SetGradientSums(const ImageChunks& chunks)
    : sums(torch::empty({2, chunks.sets(), chunks.channels()}, torch::kFloat64)),
      chunks_(chunks),
      parts_(static_cast<size_t>(chunks.count() * 2 * chunks.channels())) {}

void SetGradientSums::finish(const FusedSetting& setting, int64_t set, const SetParts& of_set) {
  const int64_t channels = chunks_.channels(), per_group = channels / setting.groups;
  const int64_t first = set * chunks_.per_set();
  for (int64_t c = 0; c < channels; ++c) {
    double g = 0, gz = 0;
    for (int64_t index = first; index < first + chunks_.per_set(); ++index) {
      g += part(index)[c];
      gz += part(index)[channels + c];
    }
    // From the sum of g * z to that of g * xhat.
    const double mean = of_set.mean[c / per_group];
    const double offset = mean - static_cast<float>(mean);
    row(0, set)[c] = g;
    row(1, set)[c] =
        (gz - offset * g) / std::sqrt(of_set.variance[c / per_group] + setting.epsilon);
  }
}

}  // namespace largo::nn
