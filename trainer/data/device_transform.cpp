#include "trainer/data/device_transform.h"

#include <ATen/ops/add.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_and.h>
#include <ATen/ops/bitwise_or.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eq.h>
#include <ATen/ops/index.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ne.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <utility>

#include "comm/base/error.h"
#include "trainer/data/augment.h"

namespace largo::data {

namespace {

// What the host draws for the images of a batch: a row of numbers each.
enum Drawn : int64_t {
  kSample,  // the sample that the image is made of
  kDown,    // its pixel (y, x) comes from (y + kDown, kFirst + kStep x)
  kFirst,
  kStep,  // 1, or −1 where it is mirrored
  kTop,   // first and last row and column that cutout takes; −1, −1 where it takes none
  kBottom,
  kLeft,
  kRight,
  kDrawn,  // how many
};

bool places(const AugmentOptions& options) { return options.pad_crop > 0 || options.flip; }

at::Tensor on_device(const std::vector<double>& values, at::ScalarType dtype,
                     const at::Device& device) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kDouble);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<double>());
  return tensor.to(dtype).to(device);
}

}  // namespace

DeviceTransform::DeviceTransform(const Transform& transform, int64_t channels,
                                 const at::Device& device)
    : shape_{channels, transform.framing.height, transform.framing.width},
      augment_(transform.augment),
      seed_(transform.seed),
      dtype_(transform.dtype),
      device_(device) {
  LARGO_CHECK(dtype_ == at::kFloat || dtype_ == at::kDouble || dtype_ == at::kBFloat16,
              "batches of ", dtype_, "; legal: Float, Double, BFloat16");
  LARGO_CHECK(static_cast<int64_t>(transform.mean.size()) == channels &&
                  static_cast<int64_t>(transform.std.size()) == channels,
              transform.mean.size(), " means and ", transform.std.size(), " deviations for ",
              channels, " channels");
  std::vector<double> scale, bias;
  for (size_t c = 0; c < transform.mean.size(); ++c) {
    scale.push_back(1 / (255 * transform.std[c]));
    bias.push_back(-transform.mean[c] / transform.std[c]);
  }
  const at::ScalarType exact = dtype_ == at::kDouble ? at::kDouble : at::kFloat;
  scale_ = on_device(scale, exact, device);
  bias_ = on_device(bias, exact, device);
  const std::vector<uint8_t> fill = mean_colour(transform.mean);
  fill_ = on_device({fill.begin(), fill.end()}, at::kByte, device);
  rows_ = at::arange(shape_.height, at::kLong).to(device);
  columns_ = at::arange(shape_.width, at::kLong).to(device);
}

Batch DeviceTransform::augment(const at::Tensor& samples, const at::Tensor& labels,
                               const std::vector<SampleKey>& keys) const {
  LARGO_CHECK(samples.dim() == 4 && samples.size(1) == shape_.height &&
                  samples.size(2) == shape_.width && samples.size(3) == shape_.channels &&
                  samples.scalar_type() == at::kByte && samples.is_contiguous(),
              "samples ", samples.sizes(), " for images of ", shape_.height, " x ", shape_.width,
              " x ", shape_.channels);
  for (const SampleKey& key : keys) {
    LARGO_CHECK(key.index >= 0 && key.index < samples.size(0), "sample ", key.index, " of ",
                samples.size(0));
  }
  const at::Tensor drawn = draw(keys);
  at::Tensor images = place(samples, drawn);
  if (augment_.cutout > 0) images = cut_out(images, drawn);
  Batch batch;
  batch.images = images.permute({0, 3, 1, 2});
  batch.labels = at::index_select(labels, 0, drawn.select(0, kSample));
  return batch;
}

// Memory for images, [n, height, width, channels]. The operations write into such memory, because
// left to themselves some choose another layout where sizes are 0 or 1.
at::Tensor DeviceTransform::empty_images(int64_t count, const at::TensorOptions& options) const {
  return at::empty({count, shape_.height, shape_.width, shape_.channels}, options);
}

// [kDrawn, n] int64.
at::Tensor DeviceTransform::draw(const std::vector<SampleKey>& keys) const {
  const auto count = static_cast<int64_t>(keys.size());
  at::Tensor drawn =
      at::empty({kDrawn, count}, at::TensorOptions(at::kLong).pinned_memory(!device_.is_cpu()));
  int64_t* const to = drawn.mutable_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    const SampleKey& key = keys[static_cast<size_t>(i)];
    const Placement placed = draw_placement(augment_, seed_, key);
    const Rect cut = draw_cutout(augment_, seed_, key, shape_.height, shape_.width);
    const bool cuts = cut.height > 0 && cut.width > 0;
    to[kSample * count + i] = key.index;
    to[kDown * count + i] = placed.down;
    to[kFirst * count + i] = placed.right + (placed.flip ? shape_.width - 1 : 0);
    to[kStep * count + i] = placed.flip ? -1 : 1;
    to[kTop * count + i] = cuts ? cut.top : -1;
    to[kBottom * count + i] = cuts ? cut.top + cut.height - 1 : -1;
    to[kLeft * count + i] = cuts ? cut.left : -1;
    to[kRight * count + i] = cuts ? cut.left + cut.width - 1 : -1;
  }
  return drawn.to(device_, /*non_blocking=*/true);
}

// As place() of augment.h, for all images at once: [n, height, width, channels].
at::Tensor DeviceTransform::place(const at::Tensor& samples, const at::Tensor& drawn) const {
  const int64_t count = drawn.size(1);
  at::Tensor images = empty_images(count, samples.options());
  if (!places(augment_)) {
    at::index_select_out(images, samples, 0, drawn.select(0, kSample));
    return images;
  }
  const auto column = [&](Drawn what) { return drawn.select(0, what).unsqueeze(1); };  // [n, 1]
  const at::Tensor y = at::add(rows_, column(kDown));                         // [n, height]
  const at::Tensor x = at::addcmul(column(kFirst), column(kStep), columns_);  // [n, width]
  const at::Tensor inside_y = at::clamp(y, 0, shape_.height - 1);
  const at::Tensor inside_x = at::clamp(x, 0, shape_.width - 1);
  at::index_out(images, samples,
                {drawn.select(0, kSample).unsqueeze(1).unsqueeze(2), inside_y.unsqueeze(2),
                 inside_x.unsqueeze(1)});
  if (augment_.pad_crop > 0) {
    const at::Tensor outside =
        at::bitwise_or(at::ne(y, inside_y).unsqueeze(2), at::ne(x, inside_x).unsqueeze(1));
    images.masked_fill_(outside.unsqueeze(3), 0);
  }
  return images;
}

// As fill() of augment.h, for all images at once.
at::Tensor DeviceTransform::cut_out(const at::Tensor& images, const at::Tensor& drawn) const {
  const auto column = [&](Drawn what) { return drawn.select(0, what).unsqueeze(1); };
  // What clamping leaves as it is lies inside; −1 … −1 leaves nothing.
  const at::Tensor in_y = at::eq(at::clamp(rows_, column(kTop), column(kBottom)), rows_);
  const at::Tensor in_x = at::eq(at::clamp(columns_, column(kLeft), column(kRight)), columns_);
  const at::Tensor inside = at::bitwise_and(in_y.unsqueeze(2), in_x.unsqueeze(1));
  at::Tensor cut = empty_images(images.size(0), images.options());
  at::where_out(cut, inside.unsqueeze(3), fill_, images);
  return cut;
}

Batch DeviceTransform::finish(Batch raw) const {
  const auto count = static_cast<int64_t>(raw.keys.size());
  const bool mixes = raw.mix < 1;
  const int64_t next = mixes && count > 0 ? 1 : 0;  // where the images that are mixed in begin
  LARGO_CHECK(raw.images.size(0) == count + next && raw.labels.size(0) == count + next,
              "a raw batch of ", count, " samples with ", raw.images.size(0), " images and ",
              raw.labels.size(0), " labels");
  at::Tensor numbers = to_numbers(raw.images.permute({0, 2, 3, 1}));
  if (mixes) {
    at::Tensor mixed = empty_images(count, scale_.options());
    at::lerp_out(mixed, numbers.narrow(0, 0, count), numbers.narrow(0, next, count), 1 - raw.mix);
    numbers = std::move(mixed);
  }
  if (numbers.scalar_type() != dtype_) {
    numbers = empty_images(count, scale_.options().dtype(dtype_)).copy_(numbers);
  }
  raw.images = numbers.permute({0, 3, 1, 2});
  if (mixes) raw.partner_labels = raw.labels.narrow(0, next, count);
  raw.labels = raw.labels.narrow(0, 0, count);
  return raw;
}

// pixels: [n, height, width, channels]. pixel / 255 / std − mean / std.
at::Tensor DeviceTransform::to_numbers(const at::Tensor& pixels) const {
  at::Tensor numbers = empty_images(pixels.size(0), scale_.options());
  at::mul_out(numbers, pixels, scale_);
  return numbers.add_(bias_);
}

}  // namespace largo::data
