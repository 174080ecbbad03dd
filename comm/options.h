// Options of the communication between ranks.
#pragma once

#include <cstdint>

#include <vector>

#include "comm/base/option_table.h"
#include "comm/base/time.h"

namespace largo::comm {

enum class Backend { kAuto, kMpi, kNccl };
enum class Overlap { kAuto, kOn, kOff };
enum class WireType { kFloat32, kBfloat16 };
enum class NormCommunicator { kShared, kOwn };

struct CommOptions {
  Backend backend = Backend::kAuto;
  int64_t bucket_bytes = 25 << 20;
  int64_t first_bucket_bytes = 1 << 20;  // smaller, so that the first reduction starts early
  Overlap overlap =
      Overlap::kAuto;  // auto: off where one thread per rank on one node gains nothing
  WireType dtype = WireType::kFloat32;  // of gradients while they are summed
  NormCommunicator norm_communicator = NormCommunicator::kShared;
  int64_t verify_steps = 2;   // whose sums are checked through the host, where NCCL makes them
  Time init_timeout = {900};  // for all ranks to join
  Time timeout = {600};       // for one collective
};

void declare_options(OptionTable& table, CommOptions& options);  // comm.*

// What does not fit the device: on the CPU there is no NCCL.
std::vector<OptionProblem> check(const CommOptions& options, bool on_gpus);

}  // namespace largo::comm
