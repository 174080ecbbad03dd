#include "tests/comm/nccl/training_steps.h"

#include <numeric>

namespace largo::test {

TrainingSteps::TrainingSteps(int ranks, int rank, std::atomic<int>& wrong)
    : order(kBuckets),
      sizes(kBuckets),
      ranks_(ranks),
      rank_(rank),
      wrong_(wrong),
      random_(rank + 1) {
  std::iota(order.begin(), order.end(), 0);
  for (int b = 0; b < kBuckets; ++b) sizes[b] = b % 2 == 1 ? 100 : 200 + b;  // odd ones alike
}

// Small integers: every sum is exact. Different in every step, so that an old sum is a wrong one.
float TrainingSteps::value(int rank, int step, int bucket, size_t i) const {
  return static_cast<float>((rank + 1) * (bucket + 1) + step * 7 + static_cast<int>(i % 5));
}

void TrainingSteps::fill(ComputeStream& compute, int step, int bucket) {
  const std::chrono::microseconds duration(random_() % 100);
  compute.launch([this, step, bucket, duration] {
    std::this_thread::sleep_for(duration);
    std::vector<float>& data = buckets_[bucket];
    for (size_t i = 0; i < data.size(); ++i) data[i] = value(rank_, step, bucket, i);
  });
}

void TrainingSteps::check(ComputeStream& compute, int step, int bucket) {
  compute.launch([this, step, bucket] {
    const std::vector<float>& data = buckets_[bucket];
    for (size_t i = 0; i < data.size(); ++i) {
      float sum = 0;
      for (int rank = 0; rank < ranks_; ++rank) sum += value(rank, step, bucket, i);
      if (data[i] != sum) {
        ++wrong_;
        return;
      }
    }
  });
}

void TrainingSteps::run(comm::NcclCore& core, ComputeStream& compute, int steps) {
  buckets_.resize(kBuckets);
  for (int b = 0; b < kBuckets; ++b) buckets_[b].resize(sizes[b]);
  for (int step = 0; step < steps; ++step) {
    std::vector<comm::NcclCore::Ticket> tickets(kBuckets);
    std::vector<comm::NcclCore::Buffer> parts;
    for (int k = 0; k < kBuckets; ++k) {
      if (!before(step, k)) return;
      const int b = order[k];
      fill(fill_on ? *fill_on : compute, step, b);
      parts.push_back({buckets_[b].data(), sizes[b]});
      if (grouped) continue;
      tickets[b] = core.all_reduce(buckets_[b].data(), sizes[b], ncclFloat32, compute);
      if (reuse_at_once) fill(compute, step, b);
    }
    if (grouped) tickets.assign(kBuckets, core.all_reduce(parts, ncclFloat32, compute));
    for (int b = 0; b < kBuckets; ++b) {
      if (wait_for_sums) core.wait(tickets[b], compute);
      check(compute, step, b);
    }
  }
}

}  // namespace largo::test
