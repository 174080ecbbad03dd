// Threads that make numbered products in order, sharing the chunks of each.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

namespace largo::data {

// How a product is made. `slot`, 0 … slots − 1, is the product's place; no other product has it
// between begin() and the end of next(). Members are called from the workers' threads.
struct ChunkWork {
  // Called in order of the numbers, one at a time; returns the number of chunks, which may be 0.
  std::function<int64_t(int64_t number, int64_t slot)> begin;
  // Called once for each chunk, several at a time. Should return soon once `stop` is requested.
  std::function<void(int64_t slot, int64_t chunk, const std::stop_token& stop)> make;
  // Called after all chunks are made.
  std::function<void(int64_t slot)> finish;
};

// Makes products first … end − 1, at most `slots` ahead of what was taken. Chunks are begun in
// order, those of the oldest product first. With 0 workers next() does the work itself.
// What `how` refers to must outlive the pool. One thread may call next(). The destructor
// requests the stop, waits for the chunks that are being made and leaves the others.
class ChunkPool {
 public:
  ChunkPool(ChunkWork how, int64_t workers, int64_t slots, int64_t first, int64_t end);
  ~ChunkPool();
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;

  // Waits for the next product and gives its slot to `take`, which must not throw; the slot is free
  // again afterwards. What begin, finish, or make for the first of the chunks that failed threw is
  // rethrown, again with every further call; the products before are not affected.
  void next(const std::function<void(int64_t slot)>& take);

  // Whether next() would neither wait nor throw. With 0 workers it always has work to do: no.
  bool ready();

 private:
  struct Job {
    int64_t chunks = 0;
    int64_t claimed = 0;  // chunks that were begun: the first ones
    int64_t made = 0;
    bool ready = false;
    int64_t failed_chunk = 0;  // that `error` comes from
    std::exception_ptr error = {};
  };

  void work(const std::stop_token& stop);
  bool has_work() const;
  std::optional<int64_t> oldest_unclaimed() const;  // product with chunks that nobody has begun
  void do_one(std::unique_lock<std::mutex>& lock, const std::stop_token& stop);
  void begin_next(std::unique_lock<std::mutex>& lock);
  void make_chunk(std::unique_lock<std::mutex>& lock, int64_t number, const std::stop_token& stop);
  void finish(std::unique_lock<std::mutex>& lock, int64_t number);
  int64_t slot_of(int64_t number) const { return number % static_cast<int64_t>(jobs_.size()); }
  Job& job(int64_t number) { return jobs_[static_cast<size_t>(slot_of(number))]; }
  const Job& job(int64_t number) const { return jobs_[static_cast<size_t>(slot_of(number))]; }

  ChunkWork work_;
  int64_t end_;

  std::mutex mutex_;                     // guards what follows
  std::condition_variable_any changed_;  // for workers: there may be something to do
  std::condition_variable ready_;        // for next(): a product is ready
  int64_t taken_;                        // the next product that next() returns
  int64_t begun_;                        // the next product to begin
  bool beginning_ = false;               // a thread is inside work_.begin
  std::vector<Job> jobs_;                // of products taken_ … begun_ − 1
  std::vector<std::jthread> workers_;
};

}  // namespace largo::data
