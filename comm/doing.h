// What a rank is busy with, as others may read it.
#pragma once

#include <cstdint>

namespace largo::comm {

enum class Doing : uint32_t {
  kStarting,
  kFirstStep,
  kData,
  kComputing,
  kSumming,
  kUpdating,
  kRecording,
  kEvaluation,
  kCheckpoint,
  kEnding,
};

// "waits for data", "saves a checkpoint"
const char* to_string(Doing doing);

// Whether it may take long without a sign of life: comm.init_timeout counts then, not comm.timeout.
bool may_take_long(Doing doing);

}  // namespace largo::comm
