// Ranks as threads on the emulated device.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "comm/nccl/nccl_core.h"
#include "tests/comm/nccl/emulated_device.h"

namespace largo::test {

// A stream of the test's own: where its "kernels" run.
class ComputeStream {
 public:
  ComputeStream() { cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, 0); }
  ~ComputeStream() { cudaStreamDestroy(stream_); }
  ComputeStream(const ComputeStream&) = delete;
  ComputeStream& operator=(const ComputeStream&) = delete;

  operator cudaStream_t() const { return stream_; }
  void launch(std::function<void()> kernel) { emulated::launch(stream_, std::move(kernel)); }
  void synchronize() { cudaStreamSynchronize(stream_); }

 private:
  cudaStream_t stream_ = nullptr;
};

// Ends with no object of the device left and no rule of NCCL's broken.
class EmulatedDevice : public testing::Test {
 protected:
  struct World {
    int ranks = 2;
    double timeout_s = 60;  // short only where a stall is expected: a sanitizer's report takes long
    double init_timeout_s = 60;
    double abort_grace_s = 60;
    ncclUniqueId id = comm::NcclCore::make_id();
    std::shared_ptr<comm::ProgressBoard> board;

    explicit World(int size) : ranks(size) {
      std::vector<int> all(size);
      std::iota(all.begin(), all.end(), 0);
      board = std::make_shared<comm::ProgressBoard>(all);
    }
    std::shared_ptr<comm::CommStream> stream(int rank) const {
      return std::make_shared<comm::CommStream>(
          comm::CommStream::Options{.rank = rank,
                                    .world = ranks,
                                    .timeout_s = timeout_s,
                                    .abort_grace_s = abort_grace_s,
                                    .poll = std::chrono::milliseconds(2),
                                    .board = board});
    }
    std::unique_ptr<comm::NcclCore> core(int rank) const {
      return std::make_unique<comm::NcclCore>(stream(rank), id, rank, ranks, init_timeout_s);
    }
  };

  // Runs body(rank) on a thread per rank; what each threw, in words ("" for none).
  static std::vector<std::string> run(int ranks, const std::function<void(int)>& body) {
    std::vector<std::string> said(ranks);
    std::vector<std::thread> threads;
    threads.reserve(ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&, rank] {
        try {
          body(rank);
        } catch (const std::exception& error) {
          said[rank] = error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return said;
  }

  void SetUp() override { emulated::set_behaviour({}); }
  void TearDown() override {
    emulated::join_streams();
    EXPECT_EQ(emulated::live_objects(), 0) << "streams, events or communicators left behind";
    EXPECT_EQ(emulated::take_violations(), std::vector<std::string>{});
  }
};

}  // namespace largo::test
