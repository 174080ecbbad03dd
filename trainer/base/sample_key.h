// Which sample this is, for everything random that is done to it.
#pragma once

#include <cstdint>

namespace largo {

// The same at any world size: a rank or a thread never enters it.
struct SampleKey {
  int64_t epoch = 0;  // the permutation that the sample comes from, from 0
  int64_t index = 0;  // its place in the data set

  friend bool operator==(const SampleKey&, const SampleKey&) = default;
};

}  // namespace largo
