// Batches made on a GPU against those of the CPU.
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/data/batch_test_util.h"
#include "trainer/data/device_feed.h"

namespace largo::data {
namespace {

constexpr SampleShape kShape = {3, 64, 48};
constexpr int64_t kBatch = 64, kFirst = 3, kEnd = 43;
constexpr int64_t kMostBytes = 1 << 30;

at::Device gpu() { return {at::kCUDA, 0}; }

Transform transform_to(at::ScalarType dtype) {
  Transform made = transform(kShape.channels, dtype);
  made.framing.height = kShape.height, made.framing.width = kShape.width;
  made.augment = {.pad_crop = 4, .flip = true, .cutout = 9};
  return made;
}

// What makes the host wait for the GPU throws while this lives.
class NoWaiting {
 public:
  NoWaiting() { set(c10::cuda::SyncDebugMode::L_ERROR); }
  ~NoWaiting() { set(c10::cuda::SyncDebugMode::L_DISABLED); }

 private:
  static void set(c10::cuda::SyncDebugMode mode) {
    c10::cuda::warning_state().set_sync_debug_mode(mode);
  }
};

class DataGpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "there is no GPU";
  }

  // All batches of a feed, taken while the GPU is busy with other work: so the host is ahead, and
  // copies and the memory that they read and write are under way at the same time.
  std::vector<Batch> batches(at::ScalarType dtype, int64_t workers, double mix,
                             ResidentSets* resident) {
    BatchFeed feed(dataset_, transform_to(dtype), workers, stream(kBatch, mix), kFirst, kEnd,
                   nullptr, gpu(), resident);
    const at::Tensor work = at::ones({2048, 2048}, at::TensorOptions(at::kFloat).device(gpu()));
    at::matmul(work, work);  // cuBLAS is set up
    const NoWaiting no_waiting;
    std::vector<Batch> made;
    for (int64_t number = kFirst; number < kEnd; ++number) {
      for (int i = 0; i < 4; ++i) at::matmul(work, work);
      made.push_back(feed.next());
    }
    return made;
  }

  void expect_those_of_the_cpu(const std::vector<Batch>& made, at::ScalarType dtype, double mix) {
    const at::ScalarType host_dtype = dtype == at::kDouble ? at::kDouble : at::kFloat;
    const BatchMaker maker(dataset_, transform_to(host_dtype));
    const double tolerance = dtype == at::kDouble ? 1e-13 : dtype == at::kFloat ? 1e-5 : 1.0 / 128;
    for (int64_t number = kFirst; number < kEnd; ++number) {
      const Batch host = maker.make(stream(kBatch, mix)(number));
      const Batch& batch = made[static_cast<size_t>(number - kFirst)];
      SCOPED_TRACE(testing::Message() << "batch " << number << ", mix " << mix);
      ASSERT_EQ(batch.images.device(), gpu());
      ASSERT_EQ(batch.images.scalar_type(), dtype);
      ASSERT_EQ(batch.images.strides(), host.images.strides());
      const at::Tensor difference =
          batch.images.to(at::kCPU).to(at::kDouble) - host.images.to(at::kDouble);
      ASSERT_LE(difference.abs().max().item<double>(), tolerance);
      ASSERT_TRUE(at::equal(batch.labels.to(at::kCPU), host.labels));
      ASSERT_EQ(batch.partner_labels.defined(), mix < 1);
      if (mix < 1) {
        ASSERT_TRUE(at::equal(batch.partner_labels.to(at::kCPU), host.partner_labels));
      }
      ASSERT_EQ(batch.keys, host.keys);
      ASSERT_EQ(batch.mix, mix);
    }
  }

  FakeDataset dataset_{kSamples, kShape};
};

TEST_F(DataGpuTest, TheRingHandsOutTheBatchesOfTheCpu) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const int64_t workers : {0, 1, 3}) {
      for (const double mix : {1.0, 0.7}) {
        SCOPED_TRACE(testing::Message() << dtype << " of " << workers << " workers");
        expect_those_of_the_cpu(batches(dtype, workers, mix, nullptr), dtype, mix);
      }
    }
  }
}

TEST_F(DataGpuTest, ASetThatLivesThereMakesTheBatchesOfTheCpu) {
  ResidentSets resident(gpu(), kMostBytes);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const double mix : {1.0, 0.7}) {
      SCOPED_TRACE(testing::Message() << dtype);
      expect_those_of_the_cpu(batches(dtype, 2, mix, &resident), dtype, mix);
    }
  }
  EXPECT_NE(resident.get(dataset_, transform_to(at::kFloat), 0, false), nullptr);
}

TEST_F(DataGpuTest, PixelsAreThoseOfTheCpuBitForBit) {
  const ResidentSet set(dataset_, transform_to(at::kByte), 1, gpu());
  const std::vector<SampleKey> keys = Sampler(kSeed, kSamples).keys(0, 200);
  const Batch made = DeviceTransform(transform_to(at::kFloat), kShape.channels, gpu())
                         .augment(set.samples(), set.labels(), keys);
  const Batch host = BatchMaker(dataset_, transform_to(at::kByte)).make(of(keys));
  EXPECT_TRUE(at::equal(made.images.to(at::kCPU), host.images));
}

TEST_F(DataGpuTest, BatchesMayBeOfAnySizeAndEmpty) {
  ResidentSets resident(gpu(), kMostBytes);
  for (ResidentSets* const sets : {static_cast<ResidentSets*>(nullptr), &resident}) {
    BatchFeed feed(dataset_, transform_to(at::kFloat), 2, in_order(20), 0, 5, nullptr, gpu(), sets);
    for (const int64_t size : {20, 20, 10, 0, 0}) {
      const Batch batch = feed.next();
      EXPECT_EQ(batch.images.sizes(),
                (at::IntArrayRef{size, kShape.channels, kShape.height, kShape.width}));
      EXPECT_EQ(batch.labels.size(0), size);
    }
  }
}

// With batches on their way: memory that they are copied from and to goes back in any order.
TEST_F(DataGpuTest, AFeedMayBeDestroyedAtAnyTime) {
  for (int taken = 0; taken < 20; ++taken) {
    BatchFeed feed(dataset_, transform_to(at::kFloat), 2, stream(kBatch), 0, 1000, nullptr, gpu());
    for (int i = 0; i < taken % 5; ++i) feed.next();
  }
  expect_those_of_the_cpu(batches(at::kFloat, 2, 1, nullptr), at::kFloat, 1);
}

}  // namespace
}  // namespace largo::data
