#include "trainer/data/chunk_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.h"

namespace largo::data {
namespace {

using testing::ElementsAre;

constexpr int64_t kSlots = 4;
constexpr int64_t kMany = 1'000'000;

// Products are vectors: chunk c of product n is 100 n + c, and -1 at the end. What goes wrong is
// noted by the fields of errors.
struct Recorder {
  std::vector<std::vector<int64_t>> products = std::vector<std::vector<int64_t>>(kSlots);
  std::vector<int64_t> numbers = std::vector<int64_t>(kSlots);
  std::vector<int64_t> begun;  // not atomic: calls do not overlap
  std::atomic<int64_t> made = 0;

  static int64_t chunks_of(int64_t number) { return number % 6; }

  ChunkWork work() {
    return {.begin =
                [this](int64_t number, int64_t slot) {
                  begun.push_back(number);
                  numbers[slot] = number;
                  products[slot].assign(static_cast<size_t>(chunks_of(number)), 0);
                  return chunks_of(number);
                },
            .make =
                [this](int64_t slot, int64_t chunk, const std::stop_token&) {
                  products[slot][chunk] += 100 * numbers[slot] + chunk;
                  ++made;
                },
            .finish = [this](int64_t slot) { products[slot].push_back(-1); }};
  }
};

TEST(ChunkPool, HandsOutWholeProductsInOrderForAnyNumberOfWorkers) {
  for (const int64_t workers : {0, 1, 2, 7}) {
    Recorder recorder;
    ChunkPool pool(recorder.work(), workers, kSlots, 2, 300);
    for (int64_t number = 2; number < 300; ++number) {
      std::vector<int64_t> expected;
      for (int64_t c = 0; c < Recorder::chunks_of(number); ++c)
        expected.push_back(100 * number + c);
      expected.push_back(-1);
      std::vector<int64_t> product;
      pool.next([&](int64_t slot) { product = recorder.products[slot]; });
      ASSERT_EQ(product, expected) << workers << ' ' << number;
    }
    EXPECT_THROW(pool.next([](int64_t) {}), Error);
    EXPECT_EQ(recorder.begun.size(), 298u);
    EXPECT_TRUE(std::is_sorted(recorder.begun.begin(), recorder.begun.end()));
  }
}

// All workers meet inside one product, so that its chunks must be made side by side.
TEST(ChunkPool, WorkersShareTheChunksOfAProduct) {
  constexpr int64_t kWorkers = 3;
  std::latch meeting(kWorkers);
  ChunkPool pool(
      {.begin = [](int64_t, int64_t) { return kWorkers; },
       .make = [&](int64_t, int64_t, const std::stop_token&) { meeting.arrive_and_wait(); },
       .finish = [](int64_t) {}},
      kWorkers, 1, 0, 1);
  pool.next([](int64_t) {});
}

// Product 1 cannot be begun before all chunks of product 0 are: one worker makes them in order.
TEST(ChunkPool, OlderProductsComeFirst) {
  std::vector<std::string> calls;
  ChunkPool pool({.begin =
                      [&](int64_t number, int64_t) {
                        calls.push_back("begin " + std::to_string(number));
                        return 2;
                      },
                  .make =
                      [&](int64_t slot, int64_t chunk, const std::stop_token&) {
                        calls.push_back(std::to_string(slot) + "." + std::to_string(chunk));
                      },
                  .finish = [&](int64_t slot) { calls.push_back("end " + std::to_string(slot)); }},
                 1, 2, 0, 2);
  for (int i = 0; i < 2; ++i) pool.next([](int64_t) {});
  EXPECT_THAT(calls,
              ElementsAre("begin 0", "0.0", "0.1", "end 0", "begin 1", "1.0", "1.1", "end 1"));
}

TEST(ChunkPool, StaysWithinItsSlots) {
  std::atomic<int64_t> begun = 0;
  ChunkPool pool({.begin =
                      [&](int64_t number, int64_t slot) {
                        EXPECT_EQ(slot, number % 3);
                        begun = number + 1;
                        return 5;
                      },
                  .make = [](int64_t, int64_t, const std::stop_token&) {},
                  .finish = [](int64_t) {}},
                 5, 3, 0, kMany);
  for (int64_t taken = 1; taken <= 500; ++taken) {
    pool.next([&](int64_t) { EXPECT_LE(begun, taken - 1 + 3) << "the slot is still in use"; });
    EXPECT_LE(begun, taken + 3);
  }
}

TEST(ChunkPool, AnEmptyRangeIsLegal) {
  for (const int64_t workers : {0, 2}) {
    Recorder recorder;
    ChunkPool pool(recorder.work(), workers, kSlots, 3, 3);
    EXPECT_THROW(pool.next([](int64_t) {}), Error);
    EXPECT_TRUE(recorder.begun.empty());
  }
}

// What next() throws, twice.
std::vector<std::string> errors_of(ChunkPool& pool) {
  std::vector<std::string> errors;
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      pool.next([](int64_t) { ADD_FAILURE() << "nothing was thrown"; });
    } catch (const std::runtime_error& error) {
      errors.push_back(error.what());
    }
  }
  return errors;
}

TEST(ChunkPool, AnErrorComesWithItsProductAndAgain) {
  for (const int64_t workers : {0, 1, 3}) {
    for (const std::string where : {"begin", "make", "finish"}) {
      const auto fail_at = [&](const std::string& here, int64_t slot) {
        if (here == where && slot == 2) throw std::runtime_error(where);
      };
      ChunkPool pool(
          {.begin =
               [&](int64_t, int64_t slot) {
                 fail_at("begin", slot);
                 return 3;
               },
           .make = [&](int64_t slot, int64_t, const std::stop_token&) { fail_at("make", slot); },
           .finish = [&](int64_t slot) { fail_at("finish", slot); }},
          workers, kSlots, 0, 4);
      pool.next([](int64_t) {});
      pool.next([](int64_t) {});
      EXPECT_THAT(errors_of(pool), ElementsAre(where, where)) << workers;
    }
  }
}

// Chunk 5 fails at once, chunk 2 after it: whichever thread is faster, 2 is what next() tells, and
// chunks that were not begun by then are left. Those after 5 take so long that the failed thread
// has seconds to come back from make().
TEST(ChunkPool, TheErrorIsThatOfTheFirstChunk) {
  constexpr int64_t kChunks = 10000;
  for (const int64_t workers : {0, 1, 6}) {
    std::atomic<bool> five_failed = false;
    std::atomic<int64_t> made = 0;
    ChunkPool pool({.begin = [](int64_t, int64_t) { return kChunks; },
                    .make =
                        [&](int64_t, int64_t chunk, const std::stop_token&) {
                          ++made;
                          if (chunk == 5) {
                            five_failed = true;
                            throw std::runtime_error("five");
                          }
                          if (chunk > 5) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                          if (chunk != 2) return;
                          while (workers == 6 && !five_failed) std::this_thread::yield();
                          throw std::runtime_error("two");
                        },
                    .finish = [](int64_t) { ADD_FAILURE() << "there is nothing to finish"; }},
                   workers, 1, 0, 1);
    EXPECT_THAT(errors_of(pool), ElementsAre("two", "two")) << workers;
    if (workers == 6) {
      EXPECT_LT(made, kChunks);
    } else {
      EXPECT_EQ(made, 3);
    }
  }
}

TEST(ChunkPool, ErrorsOfLaterProductsDoNotComeEarly) {
  Recorder recorder;
  ChunkWork work = recorder.work();
  work.finish = [&](int64_t slot) {
    if (recorder.numbers[slot] == 3) throw std::runtime_error("three");
  };
  ChunkPool pool(work, 2, kSlots, 0, 100);
  for (int i = 0; i < 3; ++i) pool.next([](int64_t) {});
  EXPECT_THAT(errors_of(pool), ElementsAre("three", "three"));
}

TEST(ChunkPool, KnowsWhatIsReady) {
  Recorder recorder;
  ChunkWork work = recorder.work();
  std::atomic<bool> failed = false;
  std::latch may_finish(1);
  work.finish = [&](int64_t slot) {
    may_finish.wait();
    if (recorder.numbers[slot] != 2) return;
    failed = true;
    throw std::runtime_error("two");
  };
  ChunkPool pool(work, 1, kSlots, 0, 3);
  EXPECT_FALSE(pool.ready());
  may_finish.count_down();
  for (int i = 0; i < 2; ++i) {
    while (!pool.ready()) std::this_thread::yield();
    pool.next([](int64_t) {});
  }
  while (!failed) std::this_thread::yield();
  EXPECT_FALSE(pool.ready()) << "it failed";
  EXPECT_THAT(errors_of(pool), ElementsAre("two", "two"));
  EXPECT_FALSE(pool.ready());
}

TEST(ChunkPool, NothingIsReadyPastTheEndOrWithoutWorkers) {
  Recorder recorder;
  ChunkPool pool(recorder.work(), 1, kSlots, 0, 1);
  pool.next([](int64_t) {});
  EXPECT_FALSE(pool.ready());
  ChunkPool lazy(recorder.work(), 0, kSlots, 0, 5);
  lazy.next([](int64_t) {});
  EXPECT_FALSE(lazy.ready());
}

TEST(ChunkPool, MayBeDestroyedAtAnyTime) {
  int64_t made = 0;
  for (int taken = 0; taken < 60; ++taken) {
    Recorder recorder;
    {
      ChunkPool pool(recorder.work(), taken % 4, kSlots, 0, kMany);
      for (int i = 0; i < taken % 8; ++i) pool.next([](int64_t) {});
    }
    made += recorder.made;
  }
  EXPECT_LT(made, int64_t{60} * 5 * (7 + kSlots));
}

// A chunk that waits for its stop: the destructor asks for it, for all workers at once.
TEST(ChunkPool, TheDestructorStopsTheChunksThatAreBeingMade) {
  std::latch running(3);
  std::atomic<int64_t> finished = 0;
  {
    ChunkPool pool({.begin = [](int64_t, int64_t) { return 100; },
                    .make =
                        [&](int64_t, int64_t, const std::stop_token& stop) {
                          running.count_down();
                          while (!stop.stop_requested()) std::this_thread::yield();
                        },
                    .finish = [&](int64_t) { ++finished; }},
                   3, 1, 0, 1);
    running.wait();
  }
  EXPECT_EQ(finished, 0);
}

TEST(ChunkPool, ImpossibleRequestsAreBugs) {
  Recorder recorder;
  EXPECT_THROW(ChunkPool(recorder.work(), -1, kSlots, 0, 1), Error);
  EXPECT_THROW(ChunkPool(recorder.work(), 1, 0, 0, 1), Error);
  EXPECT_THROW(ChunkPool(recorder.work(), 1, kSlots, -1, 1), Error);
}

}  // namespace
}  // namespace largo::data
