#include "trainer/data/chunk_pool.h"

#include <utility>

#include "comm/base/error.h"

namespace largo::data {

ChunkPool::ChunkPool(ChunkWork how, int64_t workers, int64_t slots, int64_t first, int64_t end)
    : work_(std::move(how)),
      end_(end),
      taken_(first),
      begun_(first),
      jobs_(static_cast<size_t>(slots)) {
  LARGO_CHECK(workers >= 0 && slots >= 1 && first >= 0, workers, " workers, ", slots,
              " slots, first product ", first);
  for (int64_t i = 0; i < workers; ++i) {
    workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
}

ChunkPool::~ChunkPool() {
  for (std::jthread& worker : workers_) worker.request_stop();  // all, before the first is joined
}

void ChunkPool::next(const std::function<void(int64_t slot)>& take) {
  LARGO_CHECK(taken_ < end_, "product ", taken_, " is asked for; the pool ends before ", end_);
  std::unique_lock lock(mutex_);
  Job& next = job(taken_);
  if (workers_.empty()) {
    while (!next.ready) do_one(lock, {});
  } else {
    ready_.wait(lock, [&] { return next.ready; });
  }
  if (next.error) std::rethrow_exception(next.error);
  lock.unlock();
  take(slot_of(taken_));
  lock.lock();
  next = {};
  ++taken_;
  changed_.notify_one();
}

bool ChunkPool::ready() {
  const std::lock_guard lock(mutex_);
  return taken_ < end_ && job(taken_).ready && !job(taken_).error;
}

void ChunkPool::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return has_work(); }) && !stop.stop_requested()) {
    do_one(lock, stop);
  }
}

bool ChunkPool::has_work() const {
  return oldest_unclaimed() ||
         (!beginning_ && begun_ < end_ && begun_ < taken_ + static_cast<int64_t>(jobs_.size()));
}

std::optional<int64_t> ChunkPool::oldest_unclaimed() const {
  for (int64_t number = taken_; number < begun_; ++number) {
    if (job(number).claimed < job(number).chunks) return number;
  }
  return std::nullopt;
}

void ChunkPool::do_one(std::unique_lock<std::mutex>& lock, const std::stop_token& stop) {
  if (const std::optional<int64_t> number = oldest_unclaimed()) {
    make_chunk(lock, *number, stop);
  } else {
    begin_next(lock);
  }
}

void ChunkPool::begin_next(std::unique_lock<std::mutex>& lock) {
  const int64_t number = begun_;
  Job begun;
  beginning_ = true;
  lock.unlock();
  try {
    begun.chunks = work_.begin(number, slot_of(number));
  } catch (...) {
    begun.error = std::current_exception();
  }
  lock.lock();
  beginning_ = false;
  job(number) = begun;
  ++begun_;
  changed_.notify_all();
  if (begun.chunks == 0) finish(lock, number);
}

void ChunkPool::make_chunk(std::unique_lock<std::mutex>& lock, int64_t number,
                           const std::stop_token& stop) {
  Job& mine = job(number);
  const int64_t chunk = mine.claimed++;
  std::exception_ptr error;
  lock.unlock();
  try {
    work_.make(slot_of(number), chunk, stop);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  if (stop.stop_requested()) return;
  ++mine.made;
  if (error) {
    // Every chunk before this one was claimed earlier and will come to its end, so that the error
    // kept is the first chunk's; those after it need not be made.
    if (!mine.error || chunk < mine.failed_chunk) {
      mine.error = error;
      mine.failed_chunk = chunk;
    }
    mine.chunks = mine.claimed;
  }
  if (mine.made == mine.chunks) finish(lock, number);
}

void ChunkPool::finish(std::unique_lock<std::mutex>& lock, int64_t number) {
  Job& mine = job(number);
  if (!mine.error) {
    std::exception_ptr error;
    lock.unlock();
    try {
      work_.finish(slot_of(number));
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    mine.error = error;
  }
  mine.ready = true;
  ready_.notify_one();
}

}  // namespace largo::data
