#include "trainer/data/loader.h"

#include <algorithm>
#include <utility>

#include "comm/base/error.h"

namespace largo::data {

KeysOf consecutive_keys(int64_t first, int64_t count, int64_t batch) {
  return [=](int64_t number) {
    std::vector<SampleKey> keys;
    const int64_t end = first + std::min(count, (number + 1) * batch);
    for (int64_t index = first + number * batch; index < end; ++index) keys.push_back({0, index});
    return keys;
  };
}

Loader::Loader(const Dataset& dataset, const Transform& transform, int64_t workers, KeysOf keys_of,
               int64_t first_batch, int64_t end_batch)
    : maker_(dataset, transform),
      keys_of_(std::move(keys_of)),
      end_(end_batch),
      handed_(first_batch),
      claimed_(first_batch) {
  LARGO_CHECK(workers >= 0 && first_batch >= 0, workers, " workers, first batch ", first_batch);
  slots_.resize(static_cast<size_t>(2 * workers + 1));
  for (int64_t i = 0; i < workers; ++i) {
    workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
}

Loader::~Loader() {
  for (std::jthread& worker : workers_) worker.request_stop();  // all, before the first is joined
}

Batch Loader::next() {
  LARGO_CHECK(handed_ < end_, "batch ", handed_, " is asked for; the loader ends before ", end_);
  if (workers_.empty()) {
    Batch batch = maker_.make(keys_of_(handed_));
    ++handed_;
    return batch;
  }
  std::unique_lock lock(mutex_);
  Slot& next = slot(handed_);
  ready_.wait(lock, [&] { return next.ready; });
  if (next.error) std::rethrow_exception(next.error);
  ++handed_;
  room_.notify_one();
  return std::exchange(next, {}).batch;
}

void Loader::work(const std::stop_token& stop) {
  const auto has_room = [this] {
    return claimed_ >= end_ || claimed_ < handed_ + static_cast<int64_t>(slots_.size());
  };
  std::unique_lock lock(mutex_);
  while (room_.wait(lock, stop, has_room) && !stop.stop_requested() && claimed_ < end_) {
    const int64_t number = claimed_++;
    Slot made{.ready = true, .batch = {}, .error = {}};
    try {
      std::vector<SampleKey> keys = keys_of_(number);
      lock.unlock();
      made.batch = maker_.make(std::move(keys), stop);
    } catch (...) {
      made.error = std::current_exception();
    }
    if (!lock.owns_lock()) lock.lock();
    slot(number) = std::move(made);
    ready_.notify_one();
  }
}

}  // namespace largo::data
