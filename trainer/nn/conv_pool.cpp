#include "trainer/nn/conv_pool.h"

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <vector>

#include "trainer/nn/memory_format.h"
#include "trainer/nn/parallel.h"
#include "trainer/nn/pool_kernels.h"

namespace largo::nn {

namespace {

// Between pixels by pixels and channels by channels.
template <class Stored>
void transpose(const Stored* from, int64_t rows, int64_t columns, Stored* to) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
}

struct Pooled {
  torch::Tensor y, which;
};

template <class Stored>
Pooled pool_images(const torch::Tensor& x, const torch::Tensor& bias, bool flat) {
  const PoolShape shape = {x.size(1), x.size(2), x.size(3)};
  const int64_t images = x.size(0), values = shape.pooled_values();
  const torch::Tensor y =
      flat ? torch::empty({images, values}, x.options())
           : torch::empty({images, shape.channels, shape.height / 2, shape.width / 2}, x.options(),
                          at::MemoryFormat::ChannelsLast);
  const torch::Tensor which = torch::empty({images, values}, torch::kByte);
  const auto* const from = static_cast<const Stored*>(x.const_data_ptr());
  const float* const added = bias.const_data_ptr<float>();
  auto* const to = static_cast<Stored*>(y.mutable_data_ptr());
  auto* const places = which.mutable_data_ptr<uint8_t>();
  in_pieces(images, [&](int64_t begin, int64_t end) {
    std::vector<Stored> by_pixel(static_cast<size_t>(flat ? values : 0));
    PoolScratch scratch(shape);
    for (int64_t i = begin; i < end; ++i) {
      Stored* const own = to + i * values;
      pool_image(shape, from + i * shape.values(), added, flat ? by_pixel.data() : own,
                 places + i * values, scratch);
      if (flat) transpose(by_pixel.data(), shape.pooled_pixels(), shape.channels, own);
    }
  });
  return {y, which};
}

struct PoolGradients {
  torch::Tensor x, bias;
};

// The bias's: sums per image, added up in double precision in the order of the images.
template <class Stored>
PoolGradients unpool_images(const torch::Tensor& any_dy, const torch::Tensor& which,
                            at::IntArrayRef sizes, bool flat) {
  const torch::Tensor dy = flat ? any_dy.contiguous() : channels_last(any_dy);
  const PoolShape shape = {sizes[1], sizes[2], sizes[3]};
  const int64_t images = sizes[0], values = shape.pooled_values();
  const torch::Tensor dx = torch::empty(sizes, dy.options(), at::MemoryFormat::ChannelsLast);
  const torch::Tensor sums = torch::zeros({images, shape.channels}, torch::kFloat32);
  const auto* const from = static_cast<const Stored*>(dy.const_data_ptr());
  const auto* const places = which.const_data_ptr<uint8_t>();
  auto* const to = static_cast<Stored*>(dx.mutable_data_ptr());
  float* const by_image = sums.mutable_data_ptr<float>();
  in_pieces(images, [&](int64_t begin, int64_t end) {
    std::vector<Stored> by_pixel(static_cast<size_t>(flat ? values : 0));
    PoolScratch scratch(shape);
    for (int64_t i = begin; i < end; ++i) {
      const Stored* const own = from + i * values;
      if (flat) transpose(own, shape.channels, shape.pooled_pixels(), by_pixel.data());
      unpool_image(shape, flat ? by_pixel.data() : own, places + i * values,
                   to + i * shape.values(), by_image + i * shape.channels, scratch);
    }
  });
  std::vector<double> totals(static_cast<size_t>(shape.channels));
  for (int64_t i = 0; i < images; ++i) {
    for (int64_t c = 0; c < shape.channels; ++c) totals[c] += by_image[i * shape.channels + c];
  }
  const torch::Tensor dbias = torch::empty({shape.channels}, torch::kFloat32);
  std::transform(totals.begin(), totals.end(), dbias.mutable_data_ptr<float>(),
                 [](double total) { return static_cast<float>(total); });
  return {dx, dbias};
}

class PoolFunction : public torch::autograd::Function<PoolFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& bias, bool flat) {
    const auto pool =
        x.scalar_type() == torch::kFloat32 ? pool_images<float> : pool_images<uint16_t>;
    const auto [y, which] = pool(channels_last(x), bias.contiguous(), flat);
    context->save_for_backward({which});
    context->saved_data["sizes"] = x.sizes();
    context->saved_data["flat"] = flat;
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& dy) {
    const auto sizes = context->saved_data["sizes"].toIntVector();
    const auto unpool =
        dy[0].scalar_type() == torch::kFloat32 ? unpool_images<float> : unpool_images<uint16_t>;
    const auto [dx, dbias] = unpool(dy[0], context->get_saved_variables()[0], sizes,
                                    context->saved_data["flat"].toBool());
    return {dx, dbias, {}};
  }
};

bool is_single_or_bfloat16(const torch::Tensor& tensor) {
  return tensor.scalar_type() == torch::kFloat32 || tensor.scalar_type() == torch::kBFloat16;
}

// Whether the convolution will make float32 or bfloat16, on the CPU.
bool has_own_kernels(const torch::Tensor& x, const torch::Tensor& weight,
                     const torch::Tensor& bias) {
  if (!x.is_cpu() || bias.scalar_type() != torch::kFloat32) return false;
  if (!at::autocast::is_autocast_enabled(at::kCPU)) {
    return x.scalar_type() == torch::kFloat32 && weight.scalar_type() == torch::kFloat32;
  }
  return at::autocast::get_autocast_dtype(at::kCPU) == torch::kBFloat16 &&
         is_single_or_bfloat16(x) && is_single_or_bfloat16(weight);
}

torch::Tensor conv_pool(const torch::Tensor& x, const torch::Tensor& weight,
                        const torch::Tensor& bias, bool flat) {
  if (has_own_kernels(x, weight, bias)) {
    return PoolFunction::apply(at::conv2d(x, weight), bias, flat);
  }
  const torch::Tensor y = at::max_pool2d(at::conv2d(x, weight, bias), 2, 2);
  return flat ? y.flatten(1) : y;
}

}  // namespace

torch::Tensor conv_max_pool(const torch::Tensor& x, const torch::Tensor& weight,
                            const torch::Tensor& bias) {
  return conv_pool(x, weight, bias, /*flat=*/false);
}

torch::Tensor conv_max_pool_flat(const torch::Tensor& x, const torch::Tensor& weight,
                                 const torch::Tensor& bias) {
  return conv_pool(x, weight, bias, /*flat=*/true);
}

}  // namespace largo::nn
