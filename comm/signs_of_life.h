// A rank that is alive as long as its process is.
#pragma once

#include <chrono>
#include <memory>
#include <thread>

#include "comm/flight_record.h"

namespace largo::comm {

// While it exists this rank shows a sign of life again and again, from a thread of its own. For
// what reads or copies a whole data set: that takes as long as there is data, hours perhaps, and
// ranks that wait for it must not give up. A file system that hangs then keeps the job.
class SignsOfLife {
 public:
  SignsOfLife(std::shared_ptr<FlightRecord> record, Doing doing,
              std::chrono::milliseconds period = std::chrono::seconds(1));

 private:
  std::jthread thread_;
};

}  // namespace largo::comm
