// The ring on CPU tensors, with streams that do everything at the worst time that is allowed.
#include "trainer/data/batch_ring.h"

#include <ATen/ops/allclose.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"
#include "tests/data/batch_test_util.h"

namespace largo::data {
namespace {

const at::Device kCpu(at::kCPU);

// Copies happen when somebody waits for them, no earlier. What a slot holds is destroyed as soon as
// the compute lane says that it has read it. A copy into memory that the compute lane may still
// be reading, or that somebody had before, is reported; and so is host memory that is written, or
// whose slot is used again, before the host waited for the copy from it.
class WorstStreams final : public DeviceStreams {
 public:
  struct Counts {
    int copies = 0;
    int host_waits = 0;      // for a copy that was not done yet
    int copies_at_once = 0;  // most that were begun and not done
    int allocations = 0;
  };
  explicit WorstStreams(Counts& counts) : counts_(counts) {}

  void record(int event, Lane lane) override {
    if (lane == Lane::kCompute) {
      events_[event] = ++compute_time_;
      // Of the slot whose event this is.
      for (Memory& memory : memory_) {
        if (memory.full && memory.copied == event - 1) release(memory);
      }
      return;
    }
    for (Memory& memory : memory_) {
      if (memory.being_copied) memory.copied = event, memory.being_copied = false;
    }
    const int64_t version = ++versions_[event];
    queue_.push_back([this, event, version] { done_[event] = version; });
  }

  void wait(int event, Lane lane) override {
    if (lane == Lane::kCopy) {
      copy_knows_ = std::max(copy_knows_, events_[event]);
    } else {
      run_until(event);
    }
  }

  void host_wait(int event) override {
    if (done_[event] < versions_[event]) ++counts_.host_waits;
    run_until(event);
    for (Memory& memory : memory_) {
      if (memory.copied != event || memory.source == nullptr) continue;
      EXPECT_EQ(std::memcmp(memory.source, memory.was.data(), memory.was.size()), 0)
          << "the source of a copy was written before the host knew that it was read";
      memory.source = nullptr;
    }
  }

  void copy(const at::Tensor& from, const at::Tensor& to) override {
    ASSERT_EQ(from.numel(), to.numel());
    ASSERT_EQ(from.scalar_type(), to.scalar_type());
    ASSERT_TRUE(from.is_contiguous() && to.is_contiguous());
    ++counts_.copies;
    if (from.numel() == 0) return;
    Memory* const memory = memory_of(to.mutable_data_ptr());
    ASSERT_NE(memory, nullptr) << "copied to memory that was not said to be";
    EXPECT_FALSE(memory->full) << "copied over what was not consumed";
    EXPECT_LE(memory->released_at, copy_knows_) << "the copy lane did not wait";
    EXPECT_EQ(memory->source, nullptr) << "the host did not wait for the last copy";
    memory->full = memory->being_copied = true;
    memory->source = static_cast<const char*>(from.const_data_ptr());
    memory->was.assign(memory->source, memory->source + from.nbytes());
    counts_.copies_at_once = std::max(counts_.copies_at_once, ++begun_);
    // The source is not kept, as a device does not.
    queue_.push_back(
        [this, from = from.const_data_ptr(), to = to.mutable_data_ptr(), bytes = from.nbytes()] {
          std::memcpy(to, from, bytes);
          --begun_;
        });
  }

  void used_by_copies(const at::Tensor& tensor) override {
    ++counts_.allocations;
    if (tensor.numel() == 0) return;
    char* const begin = static_cast<char*>(tensor.mutable_data_ptr());
    std::erase_if(memory_, [&](const Memory& old) {
      return begin < old.begin + old.bytes && old.begin < begin + tensor.nbytes();
    });
    memory_.push_back({.begin = begin, .bytes = tensor.nbytes()});
    release(memory_.back());
    ++compute_time_;
  }

 private:
  struct Memory {
    char* begin = nullptr;
    size_t bytes = 0;
    bool full = false;             // between a copy and the event that says it was read
    bool being_copied = false;     // since the last event of the copy lane
    int copied = -1;               // that event
    int64_t released_at = 0;       // on the compute lane
    const char* source = nullptr;  // of the last copy, until the host waited for it
    std::vector<char> was = {};    // what it held
  };

  void release(Memory& memory) {
    memory.full = false;
    memory.released_at = compute_time_;
    std::memset(memory.begin, 0xab, memory.bytes);
  }

  Memory* memory_of(void* at) {
    for (Memory& memory : memory_) {
      if (memory.begin == at) return &memory;
    }
    return nullptr;
  }

  void run_until(int event) {
    while (done_[event] < versions_[event]) {
      queue_.front()();
      queue_.pop_front();
    }
  }

  Counts& counts_;
  int begun_ = 0;
  int64_t compute_time_ = 0;
  int64_t copy_knows_ = 0;                  // how far the compute lane is, by the copy lane's waits
  std::map<int, int64_t> events_;           // of the compute lane: when they were recorded
  std::map<int, int64_t> versions_, done_;  // of the copy lane
  std::deque<std::function<void()>> queue_;
  std::vector<Memory> memory_;
};

// What a ring should hand out.
Batch expected(const Dataset& dataset, const Transform& transform, const BatchRequest& request) {
  Transform raw = transform;
  raw.dtype = at::kByte;
  return DeviceTransform(transform, dataset.shape().channels, kCpu)
      .finish(BatchMaker(dataset, raw).make(request));
}

// Until the loader is as far ahead as it can be.
void wait_for_reads(const FakeDataset& dataset, int64_t reads) {
  while (dataset.reads < reads) std::this_thread::sleep_for(std::chrono::microseconds(50));
}

TEST(BatchRing, HandsOutTheBatchesOfTheLoader) {
  const FakeDataset dataset = images(3);
  for (const double mix : {1.0, 0.7}) {
    for (const int64_t workers : {0, 1, 3}) {
      WorstStreams::Counts counts;
      BatchRing ring(dataset, transform(3), workers, stream(20, mix), 3, 40, nullptr, kCpu,
                     std::make_unique<WorstStreams>(counts));
      std::vector<Batch> kept;  // which are the caller's alone
      for (int64_t number = 3; number < 40; ++number) kept.push_back(ring.next());
      for (int64_t number = 3; number < 40; ++number) {
        const Batch& batch = kept[static_cast<size_t>(number - 3)];
        ASSERT_TRUE(equal(batch, expected(dataset, transform(3), stream(20, mix)(number))))
            << number << " of " << workers << " workers, mix " << mix;
      }
      EXPECT_THROW(ring.next(), Error);
      EXPECT_EQ(counts.copies, 2 * 37);
      EXPECT_GT(ring.times().busy_s(), 0);
    }
  }
}

// The host memory of a batch that is being copied is not the workers' yet. With all that can be
// made made, each batch is on its way before it is asked for, and its memory in demand.
TEST(BatchRing, CopiesTheNextBatchMeanwhile) {
  const FakeDataset dataset = images(3), same = images(3);
  constexpr int64_t kBatch = 20, kEnd = 60;
  WorstStreams::Counts counts;
  BatchRing ring(dataset, transform(3), 1, stream(kBatch), 0, kEnd, nullptr, kCpu,
                 std::make_unique<WorstStreams>(counts));
  for (int64_t number = 0; number + 2 < kEnd; ++number) {
    const int64_t uploaded = number == 0 ? 0 : number + 1;
    wait_for_reads(dataset, kBatch * std::min(kEnd, uploaded + Loader::kAhead));
    const Batch batch = ring.next();
    ASSERT_EQ(counts.copies, 2 * (number + 2));
    ASSERT_TRUE(equal(batch, expected(same, transform(3), stream(kBatch)(number)))) << number;
  }
  EXPECT_EQ(counts.copies_at_once, 2) << "pixels and labels of one batch";
  EXPECT_EQ(counts.host_waits, 0);
  EXPECT_EQ(counts.allocations, 2 * BatchRing::kSlots);
}

TEST(BatchRing, BatchesMayBeOfAnySizeAndEmpty) {
  const FakeDataset dataset = images(1), same = images(1);
  for (const int64_t workers : {0, 2}) {
    const auto request_of = [](int64_t number) {
      constexpr int64_t kSizes[] = {5, 0, 20, 1, 40, 0, 0, 40, 3};
      BatchRequest request = stream(40, number % 2 == 0 ? 1 : 0.8)(number);
      request.keys.resize(static_cast<size_t>(kSizes[number % 9]));
      return request;
    };
    WorstStreams::Counts counts;
    BatchRing ring(dataset, transform(1), workers, request_of, 0, 36, nullptr, kCpu,
                   std::make_unique<WorstStreams>(counts));
    for (int64_t number = 0; number < 36; ++number) {
      ASSERT_TRUE(equal(ring.next(), expected(same, transform(1), request_of(number)))) << number;
    }
  }
}

TEST(BatchRing, AnErrorComesWithItsBatch) {
  for (const int64_t workers : {0, 1, 3}) {
    FakeDataset dataset = images(1);
    dataset.broken = {25};
    WorstStreams::Counts counts;
    BatchRing ring(dataset, transform(1), workers, in_order(10), 0, 5, nullptr, kCpu,
                   std::make_unique<WorstStreams>(counts));
    EXPECT_EQ(ring.next().keys.at(0).index, 0);
    if (workers == 1) wait_for_reads(dataset, 26);  // the error is there before it is due
    EXPECT_EQ(ring.next().keys.at(0).index, 10);
    for (int attempt = 0; attempt < 2; ++attempt) {
      try {
        ring.next();
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBadData);
        EXPECT_STREQ(error.what(), "sample 25 is broken");
      }
    }
  }
}

TEST(BatchRing, ReplacesBadSamplesAsTheLoaderDoes) {
  FakeDataset dataset = images(3), same = images(3);
  dataset.broken = same.broken = {13, 40};
  SkippedSamples skipped(kSamples, [](const std::string&) {});
  SkippedSamples by_loader(kSamples, [](const std::string&) {});
  WorstStreams::Counts counts;
  BatchRing ring(dataset, transform(3), 2, stream(20), 0, 10, &skipped, kCpu,
                 std::make_unique<WorstStreams>(counts));
  Loader loader(same, transform(3), 0, stream(20), 0, 10, &by_loader);
  for (int64_t number = 0; number < 10; ++number) {
    const Batch batch = ring.next(), host = loader.next();
    EXPECT_TRUE(at::equal(batch.labels, host.labels));
    EXPECT_TRUE(at::allclose(batch.images, host.images, 1e-5, 1e-6));
  }
  EXPECT_EQ(skipped.total(), by_loader.total());
}

TEST(BatchRing, MayBeDestroyedAtAnyTime) {
  const FakeDataset dataset = images(3);
  for (int taken = 0; taken < 40; ++taken) {
    WorstStreams::Counts counts;
    BatchRing ring(dataset, transform(3), 3, stream(16), 0, 1000, nullptr, kCpu,
                   std::make_unique<WorstStreams>(counts));
    for (int i = 0; i < taken % 8; ++i) ring.next();
  }
}

}  // namespace
}  // namespace largo::data
