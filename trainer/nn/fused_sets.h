// What fused_norm.cpp computes per set of samples and channel, between its passes over memory.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "trainer/nn/image_chunks.h"

namespace largo::nn {

// What forward and backward of a call have in common, besides tensors.
struct FusedSetting : torch::CustomClassHolder {
  int64_t set_samples = 0;
  int64_t groups = 0;  // of channels that share statistics
  double epsilon = 0;
  bool relu = false;
  bool residual = false;
  bool of_x = true;                     // whether the statistics are functions of x
  std::vector<int64_t> counts;          // values per channel of each set, on all ranks
  comm::Communicator* group = nullptr;  // the ranks that share the sets; null: this one alone
};

// Of a set: mean and variance of each group of channels; weight and bias of each channel or null.
struct SetParts {
  const double* mean;
  const double* variance;
  const float* weight;
  const float* bias;
};

struct SetParameters {
  torch::Tensor mean, variance;  // [sets, groups], float64
  torch::Tensor weight, bias;    // [channels], float32, or undefined

  SetParts of(int64_t set) const;
};

// A set's normalization per channel.
class SetLine {
 public:
  SetLine(const FusedSetting& setting, int64_t channels, const SetParts& set);

  ChannelLine line() const {
    return {values_.data(), values_.data() + channels_, values_.data() + 2 * channels_};
  }

 private:
  int64_t channels_;
  std::vector<float> values_;
};

// A set's input gradient per channel, from the sums over all its values of the gradient g and of
// g * xhat: dx = (weight * g - mean(weight * g) - xhat * mean(weight * g * xhat)) / sigma, with
// means over the channels of a group too. `count`: values per channel.
class SetGradientLine {
 public:
  SetGradientLine(const FusedSetting& setting, int64_t channels, int64_t count, const SetParts& set,
                  const double* sum_g, const double* sum_gx);

  GradientLine line() const {
    return {values_.data(), values_.data() + channels_, values_.data() + 2 * channels_};
  }

 private:
  int64_t channels_;
  std::vector<float> values_;
};

// The statistics of x's sets and groups of channels. `chunks` and x must outlive it; chunks of
// different sets may be taken and sets be finished at the same time.
class SetMoments {
 public:
  SetMoments(const ImageChunks& chunks, const torch::Tensor& x, int64_t groups);

  void take(const ImageChunks::Chunk& chunk);
  void finish(int64_t set);  // once all its chunks are taken
  void take_all();           // and finishes all

  torch::Tensor mean, variance;  // [sets, groups], float64, biased

 private:
  double* moments_of(int64_t index) { return &moments_[index * 2 * chunks_.channels()]; }
  void pool_channels(int64_t rows, const double* moments, int64_t set);

  const ImageChunks& chunks_;
  const torch::Tensor& x_;
  int64_t groups_;
  std::vector<double> moments_;  // [chunks][mean and m2][channels]
};

// Sums of the gradient g and of g * xhat, of each set and channel. `chunks` must outlive it; what
// may be done at the same time is as above.
class SetGradientSums {
 public:
  explicit SetGradientSums(const ImageChunks& chunks);

  // Where the sums of g and of g * z of a chunk belong, one after the other.
  double* part(int64_t chunk) { return &parts_[chunk * 2 * chunks_.channels()]; }

  void finish(const FusedSetting& setting, int64_t set, const SetParts& of_set);

  const double* of_g(int64_t set) const { return row(0, set); }
  const double* of_gx(int64_t set) const { return row(1, set); }

  // [channels], float32: over all sets.
  torch::Tensor total_g() const { return total(0); }
  torch::Tensor total_gx() const { return total(1); }

  torch::Tensor sums;  // [2, sets, channels], float64

 private:
  double* row(int64_t which, int64_t set) const {
    return sums.mutable_data_ptr<double>() + (which * chunks_.sets() + set) * chunks_.channels();
  }
  torch::Tensor total(int64_t which) const { return sums[which].sum(0).to(torch::kFloat32); }

  const ImageChunks& chunks_;
  std::vector<double> parts_;  // [chunks][g and g * z][channels]
};

}  // namespace largo::nn
