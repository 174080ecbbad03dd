// A window whose ranks are threads. Numbers are checked exactly: sums of small integers.
#include "comm/window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"

namespace largo::comm {
namespace {

constexpr int64_t kRoom = 8 << 20;  // for tensors, per segment

// Memory for the ranks of one node, good for one Window per rank.
class Segments {
 public:
  explicit Segments(int ranks) {
    for (int r = 0; r < ranks; ++r) {
      memory_.emplace_back(static_cast<std::byte*>(std::aligned_alloc(64, kBytes)), &std::free);
      std::memset(memory_.back().get(), 0, kBytes);
    }
  }
  WindowSetup setup(int rank, int lanes = 0) const {
    WindowSetup setup{.segments = {}, .segment_bytes = kBytes, .rank = rank, .lanes = lanes};
    for (const auto& memory : memory_) setup.segments.push_back(memory.get());
    return setup;
  }
  std::byte* tensors(int rank) const { return memory_[rank].get() + Window::kTensorOffset; }

 private:
  static constexpr int64_t kBytes = Window::kTensorOffset + kRoom;
  std::vector<std::unique_ptr<std::byte, decltype(&std::free)>> memory_;
};

void run_ranks(int ranks, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(ranks));
  for (int r = 0; r < ranks; ++r) threads.emplace_back(body, r);
  for (std::thread& thread : threads) thread.join();
}

float value_of(int rank, int64_t i, int64_t salt) {
  return static_cast<float>((i * 7 + salt) % 1000 + int64_t{3} * rank);
}

// Fills, sums and checks `elements` floats at `place`; the number of wrong ones.
int64_t count_wrong_sums(Window& window, float* place, int64_t elements, int rank, int ranks,
                         int64_t salt) {
  for (int64_t i = 0; i < elements; ++i) place[i] = value_of(rank, i, salt);
  window.all_reduce(reinterpret_cast<std::byte*>(place), elements, WindowType::kFloat,
                    WindowOp::kSum);
  int64_t wrong = 0;
  for (int64_t i = 0; i < elements; ++i) {
    float sum = 0;
    for (int r = 0; r < ranks; ++r) sum += value_of(r, i, salt);
    wrong += place[i] != sum;
  }
  return wrong;
}

const std::vector<int64_t> kSizes = {0,    1,     3,      512,    513,    1000,
                                     4097, 16384, 100000, 131072, 131073, 400001};

class WindowOfRanks : public testing::TestWithParam<int> {};

TEST_P(WindowOfRanks, SumsTensorsOfTheSegmentAndOthers) {
  const int ranks = GetParam();
  const Segments segments(ranks);
  std::atomic<int64_t> wrong = 0;
  run_ranks(ranks, [&](int rank) {
    Window window(segments.setup(rank));
    std::vector<float> elsewhere(400001);
    // All in place; none; odd ranks only; at places that differ and begin at no cache line.
    for (const int64_t elements : kSizes) {
      auto* const inside = reinterpret_cast<float*>(segments.tensors(rank));
      wrong += count_wrong_sums(window, inside, elements, rank, ranks, 1);
      wrong += count_wrong_sums(window, elsewhere.data(), elements, rank, ranks, 2);
      wrong += count_wrong_sums(window, rank % 2 == 1 ? inside : elsewhere.data(), elements, rank,
                                ranks, 3);
      wrong +=
          count_wrong_sums(window, inside + int64_t{1000} * rank + 1, elements, rank, ranks, 4);
    }
  });
  EXPECT_EQ(wrong, 0);
}

TEST_P(WindowOfRanks, MixesCallsAtAnySpeed) {
  const int ranks = GetParam();
  const Segments segments(ranks);
  std::atomic<int64_t> wrong = 0;
  run_ranks(ranks, [&](int rank) {
    Window window(segments.setup(rank));
    std::mt19937 same(7), own(static_cast<unsigned>(rank));
    std::vector<float> elsewhere(20000);
    for (int call = 0; call < 300; ++call) {
      if (own() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(own() % 300));
      const unsigned kind = same() % 4;
      const int64_t elements = same() % 2 == 0 ? same() % 500 : same() % 20000;
      if (kind == 0) {
        window.barrier();
      } else if (kind == 1) {
        const int64_t bytes = std::min<int64_t>(elements, Window::kLetterBytes);
        const std::vector<std::byte> mine(static_cast<size_t>(bytes), std::byte(rank + call));
        std::vector<std::byte> all(static_cast<size_t>(bytes * ranks));
        window.all_gather(mine.data(), all.data(), bytes);
        for (int64_t i = 0; i < bytes * ranks; ++i) {
          wrong += all[static_cast<size_t>(i)] != std::byte(i / bytes + call);
        }
      } else {
        auto* const inside = reinterpret_cast<float*>(segments.tensors(rank));
        float* const place = kind == 2 ? inside + own() % 100 : elsewhere.data();
        wrong += count_wrong_sums(window, place, elements, rank, ranks, call);
      }
    }
  });
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Ranks, WindowOfRanks, testing::Values(1, 2, 3, 4, 8));

// The bits are those of one order, wherever numbers lie and on whichever rank.
TEST(Window, BitsAreThoseOfTheOrderOfTheRanks) {
  constexpr int kRanks = 3;
  for (const int64_t elements : {300, 200000}) {
    const Segments segments(kRanks);
    std::vector<std::vector<float>> values(kRanks, std::vector<float>(elements));
    std::mt19937 random(3);
    for (auto& of_rank : values) {
      for (float& value : of_rank)
        value = std::ldexp(std::uniform_real_distribution<float>(-1, 1)(random),
                           static_cast<int>(random() % 30));
    }
    std::vector<float> expected = values[0];
    for (int r = 1; r < kRanks; ++r) {
      for (int64_t i = 0; i < elements; ++i) expected[i] += values[r][i];
    }
    std::atomic<int> equal = 0;
    run_ranks(kRanks, [&](int rank) {
      Window window(segments.setup(rank));
      const auto bytes = static_cast<size_t>(elements) * sizeof(float);
      std::vector<float> elsewhere = values[rank];
      for (std::byte* place :
           {segments.tensors(rank), reinterpret_cast<std::byte*>(elsewhere.data())}) {
        std::memcpy(place, values[rank].data(), bytes);
        window.all_reduce(place, elements, WindowType::kFloat, WindowOp::kSum);
        equal += std::memcmp(place, expected.data(), bytes) == 0;
      }
    });
    EXPECT_EQ(equal, 2 * kRanks) << elements;
  }
}

TEST(Window, RanksThatCallDifferentThingsAllThrow) {
  const Segments segments(3);
  std::mutex mutex;
  std::vector<std::string> messages;
  run_ranks(3, [&](int rank) {
    Window window(segments.setup(rank));
    std::vector<float> values(1000, 1);
    try {
      window.all_reduce(reinterpret_cast<std::byte*>(values.data()), rank == 2 ? 999 : 1000,
                        WindowType::kFloat, WindowOp::kSum);
    } catch (const Error& error) {
      const std::scoped_lock lock(mutex);
      messages.emplace_back(error.what());
    }
  });
  EXPECT_EQ(messages.size(), 3u);
  EXPECT_THAT(messages, testing::Each(testing::AllOf(testing::HasSubstr("of 1000 float32"),
                                                     testing::HasSubstr("of 999 float32"),
                                                     testing::HasSubstr("rank 2"))));
}

// Time of a thread's own, in seconds.
double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

TEST(Window, WaitingForALateRankCostsNoProcessorTime) {
  const Segments segments(2);
  double spent = 0;
  run_ranks(2, [&](int rank) {
    Window window(segments.setup(rank));
    window.barrier();
    if (rank == 1)
      std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // past one sleep's end
    const double start = thread_seconds();
    window.barrier();
    if (rank == 0) spent = thread_seconds() - start;
  });
  EXPECT_LT(spent, 0.3);
}

// Two windows as two nodes; `lanes` of each meet their peers of the other under a mutex.
class Nodes {
 public:
  Nodes(std::vector<int> sizes, int lanes)
      : sizes_(std::move(sizes)), lanes_(lanes), calls_(static_cast<size_t>(lanes)) {
    for (const int size : sizes_) segments_.push_back(std::make_unique<Segments>(size));
    peers_ = std::make_unique<Segments>(lanes * static_cast<int>(sizes_.size()));
  }
  void run(const std::function<void(Window&, const Window::BetweenNodes&, std::byte* inside,
                                    int rank)>& body) {
    std::vector<std::pair<int, int>> places;
    for (size_t node = 0; node < sizes_.size(); ++node) {
      for (int r = 0; r < sizes_[node]; ++r) places.emplace_back(static_cast<int>(node), r);
    }
    run_ranks(static_cast<int>(places.size()), [&](int rank) {
      const int node = places[rank].first;
      const int place = places[rank].second;
      Window window(segments_[node]->setup(place, lanes_));
      // The peers of a lane are a window of their own.
      std::unique_ptr<Window> lane;
      if (place < lanes_) {
        WindowSetup setup = peers_->setup(0);
        const auto nodes = static_cast<int>(sizes_.size());
        setup.segments = {setup.segments.begin() + int64_t{place} * nodes,
                          setup.segments.begin() + (int64_t{place} + 1) * nodes};
        setup.rank = node;
        lane = std::make_unique<Window>(setup);
      }
      const auto between = [&](std::byte* part, int64_t elements) {
        if (rank == 0) most_ = std::max(most_, elements);
        ++calls_[place];
        lane->all_reduce(part, elements, WindowType::kFloat, WindowOp::kSum);
      };
      body(window, between, segments_[node]->tensors(place), rank);
    });
  }
  int64_t most() const { return most_; }

 private:
  std::vector<int> sizes_;
  int lanes_;
  std::vector<std::atomic<int64_t>> calls_;
  int64_t most_ = 0;
  std::vector<std::unique_ptr<Segments>> segments_;
  std::unique_ptr<Segments> peers_;
};

TEST(Window, SumsBetweenNodesByLanes) {
  for (const auto& [sizes, lanes] :
       {std::pair(std::vector{2, 2}, 2), std::pair(std::vector{3, 1}, 1),
        std::pair(std::vector{2, 3, 2}, 2)}) {
    Nodes nodes(sizes, lanes);
    int ranks = 0;
    for (const int size : sizes) ranks += size;
    std::atomic<int64_t> wrong = 0;
    nodes.run(
        [&](Window& window, const Window::BetweenNodes& between, std::byte* inside, int rank) {
          std::vector<float> elsewhere(1500001);
          for (const int64_t elements :
               {int64_t{0}, int64_t{1}, int64_t{100}, int64_t{5000}, int64_t{1500001}}) {
            // Everywhere in place; on the first rank's node not all; nowhere.
            for (int kind = 0; kind < 3; ++kind) {
              float* const place = kind == 2 || (kind == 1 && rank == 0)
                                       ? elsewhere.data()
                                       : reinterpret_cast<float*>(inside);
              for (int64_t i = 0; i < elements; ++i) place[i] = value_of(rank, i, kind);
              window.all_reduce(reinterpret_cast<std::byte*>(place), elements, WindowType::kFloat,
                                WindowOp::kSum, between);
              for (int64_t i = 0; i < elements; ++i) {
                float sum = 0;
                for (int r = 0; r < ranks; ++r) sum += value_of(r, i, kind);
                wrong += place[i] != sum;
              }
            }
          }
        });
    EXPECT_EQ(wrong, 0) << ranks << " ranks, " << lanes << " lanes";
    EXPECT_LE(nodes.most() * 4, Window::kScratchBytes);
  }
}

}  // namespace
}  // namespace largo::comm
