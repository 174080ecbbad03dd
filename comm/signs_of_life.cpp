#include "comm/signs_of_life.h"

#include <condition_variable>
#include <mutex>
#include <utility>

namespace largo::comm {

SignsOfLife::SignsOfLife(std::shared_ptr<FlightRecord> record, Doing doing,
                         std::chrono::milliseconds period)
    : thread_([record = std::move(record), doing, period](const std::stop_token& stop) {
        std::mutex mutex;
        std::condition_variable_any stopped;
        std::unique_lock lock(mutex);
        while (!stop.stop_requested()) {
          record->mark(doing, 0);
          stopped.wait_for(lock, stop, period, [] { return false; });
        }
      }) {}

}  // namespace largo::comm
