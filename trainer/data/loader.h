// Batches in order, made by background threads.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "trainer/data/batch.h"

namespace largo::data {

// The samples of batch `number`; none is legal.
using KeysOf = std::function<std::vector<SampleKey>(int64_t number)>;

// For evaluation: samples first … first + count − 1 in order, `batch` at a time; batches past the
// end are empty.
KeysOf consecutive_keys(int64_t first, int64_t count, int64_t batch);

// Hands out batches first_batch … end_batch − 1, with the same bits for any number of workers.
// The workers keep at most 2 · workers + 1 batches ready or in the making; that, and the batch the
// caller holds, is the memory it takes. With 0 workers next() makes the batch itself.
//
// `dataset`, and whatever keys_of refers to, must outlive the loader. keys_of is called for one
// batch at a time, in order, from the workers' threads (from next() with 0 workers).
// One thread may call next(). The destructor ends the workers after the sample they are at.
class Loader {
 public:
  Loader(const Dataset& dataset, const Transform& transform, int64_t workers, KeysOf keys_of,
         int64_t first_batch, int64_t end_batch);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // What keys_of or the data set threw for this batch is rethrown, again with every further call.
  Batch next();

 private:
  struct Slot {
    bool ready = false;
    Batch batch;
    std::exception_ptr error;
  };

  void work(const std::stop_token& stop);
  Slot& slot(int64_t number) { return slots_[static_cast<size_t>(number) % slots_.size()]; }

  BatchMaker maker_;
  KeysOf keys_of_;
  int64_t end_;

  std::mutex mutex_;                  // guards what follows, and the calls of keys_of_
  std::condition_variable_any room_;  // a batch was handed out
  std::condition_variable ready_;     // a batch was made
  int64_t handed_;                    // the next batch that next() returns
  int64_t claimed_;                   // the next batch that a worker begins
  std::vector<Slot> slots_;           // of batches handed_ … claimed_ − 1
  std::vector<std::jthread> workers_;
};

}  // namespace largo::data
