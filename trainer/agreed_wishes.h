// What ranks agree on from step to step: the bits of comm::AgreedFlags.
#pragma once

#include <cstdint>

namespace largo {

using Wishes = uint32_t;

constexpr Wishes kSaveNow = 1;      // a checkpoint
constexpr Wishes kStopSignal = 2;   // to stop, because some rank got a signal
constexpr Wishes kStopForTime = 4;  // to stop, because the time that is left is needed for it

constexpr int64_t kStepsUntilAgreed = 2;  // from a wish: comm::AgreedFlags::kLag

}  // namespace largo
