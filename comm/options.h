// Options of the communication between ranks.
#pragma once

#include <cstdint>

#include "comm/base/option_table.h"

namespace largo::comm {

enum class Backend { kAuto, kMpi, kNccl };
enum class Overlap { kAuto, kOn, kOff };

struct CommOptions {
  Backend backend = Backend::kAuto;
  int64_t bucket_bytes = 25 << 20;
  int64_t first_bucket_bytes = 1 << 20;  // smaller, so that the first reduction starts early
  Overlap overlap =
      Overlap::kAuto;  // auto: off where one thread per rank on one node gains nothing
};

void declare_options(OptionTable& table, CommOptions& options);  // comm.*

}  // namespace largo::comm
