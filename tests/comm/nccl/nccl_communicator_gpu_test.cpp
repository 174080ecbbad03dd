// NCCL on real GPUs: ranks on GPUs of their own where there are enough, sharing one otherwise.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "comm/base/error.h"
#include "comm/nccl_backend.h"
#include "tests/comm/communicator_contract.h"
#include "tests/support/mpi_main.h"

namespace largo::test {
namespace {

class NcclCommunicator : public testing::Test {
 protected:
  // One set-up for all tests: NCCL's takes seconds.
  static void SetUpTestSuite() {
    const comm::MpiSession& session = mpi_session();
    const int gpus = c10::cuda::device_count();
    if (gpus == 0) return;
    const bool share = gpus < session.local_size();
    device_ = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(session.local_rank() % gpus));
    c10::cuda::set_device(device_.index());
    world_ = comm::make_nccl_communicator(
        session, session.make_communicator(false),
        {.device = device_.index(),
         .init_timeout_s = 120,
         .timeout_s = 60,
         .log_folder = std::filesystem::temp_directory_path() / "largo_nccl_test",
         .share_gpu = share});
  }
  static void TearDownTestSuite() { world_.reset(); }
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "there is no GPU";
    ASSERT_NE(world_, nullptr);
  }

  static at::TensorOptions on_device(at::ScalarType dtype) {
    return at::TensorOptions(device_).dtype(dtype);
  }

  static std::unique_ptr<comm::Communicator> world_;
  static at::Device device_;
};

std::unique_ptr<comm::Communicator> NcclCommunicator::world_;
at::Device NcclCommunicator::device_ = at::kCPU;

TEST_F(NcclCommunicator, KeepsTheContractOnTheHost) { EXPECT_NO_THROW(check_contract(*world_)); }

TEST_F(NcclCommunicator, SumsEveryDtype) {
  const int n = world_->size();
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf, at::kLong}) {
    for (const int64_t elements : {0, 1, 1000, 300000}) {
      at::Tensor values = at::full({elements}, world_->rank() + 1, on_device(dtype));
      world_->all_reduce(values).wait();
      EXPECT_TRUE(values.eq(n * (n + 1) / 2).all().item<bool>())
          << elements << " of " << at::toString(dtype);
    }
  }
}

TEST_F(NcclCommunicator, SumsWhileTheStreamFillsOthers) {
  const int n = world_->size();
  std::vector<at::Tensor> tensors;
  std::vector<comm::Work> works;
  for (int i = 0; i < 50; ++i) {
    at::Tensor filler = at::rand({512, 512}, on_device(at::kFloat));
    for (int k = 0; k < 5; ++k) filler = filler.matmul(filler).clamp(0, 1);
    tensors.push_back(at::full({100000 + i}, i + world_->rank(), on_device(at::kFloat)) +
                      filler.sum() * 0);
    works.push_back(world_->all_reduce(tensors.back()));
  }
  for (int i = 49; i >= 0; --i) {
    works[i].wait();
    works[i].wait();
    EXPECT_TRUE(tensors[i].eq(i * n + n * (n - 1) / 2).all().item<bool>()) << i;
  }
}

// The allocator may not hand out memory that a collective still uses.
TEST_F(NcclCommunicator, KeepsTensorsThatTheCallerDrops) {
  for (int i = 0; i < 200; ++i) {
    world_->all_reduce(at::ones({1 << 18}, on_device(at::kFloat)));
    at::full({1 << 18}, 7, on_device(at::kFloat));
  }
  at::Tensor last = at::ones({8}, on_device(at::kFloat));
  world_->all_reduce(last).wait();
  EXPECT_TRUE(last.eq(world_->size()).all().item<bool>());
}

TEST_F(NcclCommunicator, BroadcastsAndGathersAnyDtype) {
  const int n = world_->size();
  for (int root = 0; root < n; ++root) {
    at::Tensor bytes = at::full({13}, world_->rank(), on_device(at::kByte));
    world_->broadcast(bytes, root);
    EXPECT_TRUE(bytes.eq(root).all().item<bool>());
  }
  const at::Tensor gathered =
      world_->all_gather(at::full({2, 3}, world_->rank(), on_device(at::kInt)));
  ASSERT_EQ(gathered.sizes(), at::IntArrayRef({n, 2, 3}));
  for (int r = 0; r < n; ++r) EXPECT_TRUE(gathered[r].eq(r).all().item<bool>());
  at::Tensor image = at::full({2, 3, 4, 5}, world_->rank(), on_device(at::kFloat))
                         .contiguous(at::MemoryFormat::ChannelsLast);
  world_->all_reduce(image).wait();
  EXPECT_TRUE(image.eq(n * (n - 1) / 2.0).all().item<bool>());
  EXPECT_TRUE(world_->allocate(10, at::kDouble).eq(0).all().item<bool>());
}

TEST_F(NcclCommunicator, RefusesWhatItCannotDo) {
  EXPECT_THROW(world_->all_reduce(at::ones({2}, on_device(at::kFloat)), comm::ReduceOp::kMax),
               Error);
  EXPECT_THROW(world_->all_reduce(at::ones({2}, on_device(at::kInt))), Error);
  EXPECT_THROW(world_->all_reduce(at::ones({4, 4}, on_device(at::kFloat)).t().slice(0, 0, 2)),
               Error);
}

// A synchronized normalization over one rank each, between buckets of all ranks.
TEST_F(NcclCommunicator, GroupsShareTheStream) {
  const auto part = world_->split(world_->rank(), 0);
  ASSERT_EQ(part->size(), 1);
  const auto again = world_->split(0, -world_->rank());
  EXPECT_EQ(again->rank(), world_->size() - 1 - world_->rank());
  for (int i = 0; i < 1000; ++i) {
    at::Tensor bucket = at::ones({5000}, on_device(at::kFloat));
    at::Tensor norm = at::full({64}, i, on_device(at::kFloat));
    const comm::Work work = world_->all_reduce(bucket);
    again->all_reduce(norm).wait();
    part->all_reduce(norm).wait();
    work.wait();
    if (i % 100 == 0) {
      EXPECT_TRUE(bucket.eq(world_->size()).all().item<bool>());
      EXPECT_TRUE(norm.eq(i * world_->size()).all().item<bool>());
    }
  }
}

}  // namespace
}  // namespace largo::test
