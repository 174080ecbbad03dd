// On CPU tensors: the operations are the same on every device.
#include "trainer/data/device_transform.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/batch_test_util.h"
#include "trainer/data/resident_set.h"

namespace largo::data {
namespace {

const at::Device kCpu(at::kCPU);

struct Case {
  SampleShape shape;
  AugmentOptions augment;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const SampleShape shape :
       {SampleShape{3, 4, 5}, {1, 7, 3}, {1, 1, 1}, {3, 1, 1}, {4, 9, 8}}) {
    for (const int64_t pad_crop : {0, 1, 2, 12}) {
      for (const bool flip : {false, true}) {
        for (const int64_t cutout : {0, 1, 3, 50}) {
          all.push_back({shape, {.pad_crop = pad_crop, .flip = flip, .cutout = cutout}});
        }
      }
    }
  }
  return all;
}

Transform transform_of(const Case& of, at::ScalarType dtype) {
  Transform made = transform(of.shape.channels, dtype);
  for (size_t c = 0; c < made.mean.size(); ++c) made.mean[c] += 0.05 * static_cast<double>(c);
  made.framing.height = of.shape.height, made.framing.width = of.shape.width;
  made.augment = of.augment;
  return made;
}

std::string describe(const Case& of) {
  return std::to_string(of.shape.channels) + "x" + std::to_string(of.shape.height) + "x" +
         std::to_string(of.shape.width) + " pad_crop " + std::to_string(of.augment.pad_crop) +
         " flip " + std::to_string(of.augment.flip) + " cutout " +
         std::to_string(of.augment.cutout);
}

std::vector<SampleKey> some_keys(int64_t count) { return Sampler(kSeed, kSamples).keys(37, count); }

TEST(DeviceTransform, PixelsAreThoseOfTheHostBitForBit) {
  for (const Case& of : cases()) {
    const FakeDataset dataset(kSamples, of.shape);
    const Transform raw = transform_of(of, at::kByte);
    const ResidentSet resident(dataset, raw, 0, kCpu);
    const DeviceTransform device(transform_of(of, at::kFloat), of.shape.channels, kCpu);
    for (const int64_t count : {0, 1, 20}) {
      const Batch host = BatchMaker(dataset, raw).make({.keys = some_keys(count)});
      const Batch made = device.augment(resident.samples(), resident.labels(), some_keys(count));
      ASSERT_EQ(made.images.scalar_type(), at::kByte);
      ASSERT_TRUE(at::equal(made.images, host.images)) << describe(of) << " of " << count;
      ASSERT_EQ(made.images.strides(), host.images.strides()) << describe(of) << " of " << count;
      ASSERT_TRUE(at::equal(made.labels, host.labels));
    }
  }
}

// As a part of the largest number that a pixel can become: near the mean colour all are near 0.
double furthest(const at::Tensor& a, const at::Tensor& b) {
  constexpr double kLargest = 0.6 / 0.3;
  if (a.numel() == 0) return 0;
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>() / kLargest;
}

TEST(DeviceTransform, NumbersAreThoseOfTheHostButForRounding) {
  for (const SampleShape shape : {SampleShape{3, 4, 5}, {1, 7, 3}, {1, 1, 1}, {3, 1, 1}}) {
    const FakeDataset dataset(kSamples, shape);
    for (const double mix : {1.0, 0.7}) {
      for (const int64_t count : {0, 1, 20}) {
        const BatchRequest request = {.keys = some_keys(count), .mix = mix, .after_last = {{1, 5}}};
        const Case of = {shape, {.pad_crop = 2, .flip = true, .cutout = 3}};
        const Batch exact = BatchMaker(dataset, transform_of(of, at::kDouble)).make(request);
        for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
          const DeviceTransform device(transform_of(of, dtype), shape.channels, kCpu);
          const Batch made =
              device.finish(BatchMaker(dataset, transform_of(of, at::kByte)).make(request));
          EXPECT_EQ(made.images.scalar_type(), dtype);
          EXPECT_EQ(made.images.sizes(), exact.images.sizes());
          EXPECT_EQ(made.images.strides(), exact.images.strides()) << describe(of) << ' ' << count;
          EXPECT_LE(furthest(made.images, exact.images), dtype == at::kDouble  ? 1e-14
                                                         : dtype == at::kFloat ? 1e-6
                                                                               : 1.0 / 256)
              << describe(of) << " of " << count << ", " << dtype << ", mix " << mix;
          EXPECT_TRUE(at::equal(made.labels, exact.labels));
          EXPECT_EQ(made.partner_labels.defined(), mix < 1);
          if (mix < 1) {
            EXPECT_TRUE(at::equal(made.partner_labels, exact.partner_labels));
          }
          EXPECT_EQ(made.keys, exact.keys);
          EXPECT_EQ(made.mix, mix);
        }
      }
    }
  }
}

// Rounded once: what is mixed in float32 and then rounded.
TEST(DeviceTransform, Bfloat16IsFloat32RoundedOnce) {
  const FakeDataset dataset = images(3);
  const BatchRequest request = stream(20, 0.7)(0);
  const Batch raw = BatchMaker(dataset, transform(3, at::kByte)).make(request);
  const Batch exact = DeviceTransform(transform(3), 3, kCpu).finish(raw);
  const Batch made = DeviceTransform(transform(3, at::kBFloat16), 3, kCpu).finish(raw);
  EXPECT_TRUE(at::equal(made.images, exact.images.to(at::kBFloat16)));
}

TEST(DeviceTransform, LeavesWhatItWasGivenAsItWas) {
  const FakeDataset dataset = images(3);
  Transform cut = transform(3);
  cut.augment.cutout = 2;
  const ResidentSet resident(dataset, cut, 0, kCpu);
  const at::Tensor samples = resident.samples().clone();
  const DeviceTransform device(cut, 3, kCpu);
  Batch raw = device.augment(resident.samples(), resident.labels(), some_keys(20));
  raw.keys = some_keys(20);
  const at::Tensor pixels = raw.images.clone();
  device.finish(raw);
  EXPECT_TRUE(at::equal(resident.samples(), samples));
  EXPECT_TRUE(at::equal(raw.images, pixels));
}

TEST(DeviceTransform, WrongUseIsABug) {
  EXPECT_THROW(DeviceTransform(transform(3, at::kByte), 3, kCpu), Error);
  EXPECT_THROW(DeviceTransform(transform(3, at::kHalf), 3, kCpu), Error);
  EXPECT_THROW(DeviceTransform(transform(3), 1, kCpu), Error);
  const FakeDataset dataset = images(3);
  const DeviceTransform device(transform(3), 3, kCpu);
  const ResidentSet resident(dataset, transform(3), 0, kCpu);
  const at::Tensor &samples = resident.samples(), &labels = resident.labels();
  EXPECT_THROW(device.augment(samples, labels, {{0, kSamples}}), Error);
  EXPECT_THROW(device.augment(samples, labels, {{0, -1}}), Error);
  EXPECT_THROW(device.augment(samples.narrow(1, 0, 3), labels, {{0, 1}}), Error);
  EXPECT_THROW(device.augment(samples.to(at::kFloat), labels, {{0, 1}}), Error);
  Batch raw = BatchMaker(dataset, transform(3, at::kByte)).make(stream(20)(0));
  raw.mix = 0.5;  // without the sample after the last one
  EXPECT_THROW(device.finish(raw), Error);
}

}  // namespace
}  // namespace largo::data
