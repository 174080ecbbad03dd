// Initial values of parameters: keyed by seed and name, drawn in double precision, then cast. So
// they do not depend on dtype, memory format, rank, or on what else a model holds.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace largo::nn {

void fill_normal(torch::Tensor parameter, std::string_view name, uint64_t seed, double std);
void fill_uniform(torch::Tensor parameter, std::string_view name, uint64_t seed, double bound);

// Every 4-d parameter of `model` He normal: N(0, 2 / fan-out), keyed by its name in `model`.
void fill_convolutions(torch::nn::Module& model, uint64_t seed);

// N(0, 0.01^2), bias 0. `name`: of the layer in the model.
void fill_classifier(torch::nn::LinearImpl& layer, const std::string& name, uint64_t seed);

// Inputs and outputs per value of a convolution's or a linear layer's weight.
int64_t fan_in(const torch::Tensor& weight);
int64_t fan_out(const torch::Tensor& weight);

}  // namespace largo::nn
