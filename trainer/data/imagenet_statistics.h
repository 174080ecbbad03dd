// The mean and standard deviation that models of photographs are commonly trained with.
#pragma once

#include <cstdint>

#include "trainer/data/statistics.h"

namespace largo::data {

// ImageNet's, of pixels scaled to 0..1, as in PyTorch's examples; for one channel the three
// weighted as they are in luma (0.299, 0.587, 0.114).
inline ChannelStatistics imagenet_statistics(int64_t channels) {
  if (channels == 1) return {.mean = {0.459}, .std = {0.2256}};
  return {.mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}};
}

}  // namespace largo::data
