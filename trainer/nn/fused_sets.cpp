#include "trainer/nn/fused_sets.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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
  for (int64_t group = 0; group < setting.groups; ++group) {
    const double inverse_sigma = 1 / std::sqrt(set.variance[group] + setting.epsilon);
    const auto pivot = static_cast<float>(set.mean[group]);
    const double offset = set.mean[group] - pivot;
    for (int64_t c = group * per_group; c < (group + 1) * per_group; ++c) {
      const double scale = (set.weight != nullptr ? set.weight[c] : 1) * inverse_sigma;
      const double bias = set.bias != nullptr ? set.bias[c] : 0;
      values_[c] = pivot;
      values_[channels + c] = static_cast<float>(scale);
      values_[2 * channels + c] = static_cast<float>(bias - offset * scale);
    }
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
    const double* const mean_of = moments + group * per_group;
    const double* const m2_of = mean_of + channels;
    const double sum = std::accumulate(mean_of, mean_of + per_group, 0.0);
    means[group] = sum / static_cast<double>(per_group);
    double m2 = 0;  // of channels of equal size
    for (int64_t c = 0; c < per_group; ++c) {
      const double delta = mean_of[c] - means[group];
      m2 += m2_of[c] + delta * delta * static_cast<double>(rows);
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
  for (int64_t group = 0; group < setting.groups; ++group) {
    const double inverse_sigma = 1 / std::sqrt(of_set.variance[group] + setting.epsilon);
    const double offset = of_set.mean[group] - static_cast<float>(of_set.mean[group]);
    for (int64_t c = group * per_group; c < (group + 1) * per_group; ++c) {
      double g = 0, gz = 0;
      for (int64_t index = first; index < first + chunks_.per_set(); ++index) {
        g += part(index)[c];
        gz += part(index)[channels + c];
      }
      row(0, set)[c] = g;
      row(1, set)[c] = (gz - offset * g) * inverse_sigma;  // from g * z to g * xhat
    }
  }
}

}  // namespace largo::nn
