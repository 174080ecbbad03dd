// Mixed precision: float32 parameters, convolutions and matrix products in bfloat16.
#pragma once

#include <torch/torch.h>

namespace largo::nn {

// While it lives, and on its thread alone, ATen casts the arguments of convolutions and matrix
// products of floating-point tensors of `device` to `dtype`, and those of some others (pow, losses)
// to float32; float64 is left alone. Parameters stay float32 and so do their gradients; the casts
// of parameters are kept and used again until the outermost guard ends. So one guard belongs around
// the forward pass of one micro-batch: after an optimizer step the kept casts are out of date.
// Backward needs none. With kFloat32 nothing is changed.
// When it ends all is as it was before. Guards nest; they end in the opposite order.
// As torch.autocast: torch/amp/autocast_mode.py.
class Autocast {
 public:
  Autocast(torch::DeviceType device, torch::Dtype dtype);
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  ~Autocast();

 private:
  torch::DeviceType device_;
  bool changed_;
  bool was_enabled_ = false;
  bool was_caching_ = false;
  torch::Dtype was_dtype_ = torch::kFloat32;
};

}  // namespace largo::nn
