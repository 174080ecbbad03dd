// Mean and standard deviation of a data set's pixels.
#pragma once

#include <vector>

#include "trainer/data/dataset.h"

namespace largo::data {

struct ChannelStatistics {
  std::vector<double> mean;  // per channel, of pixels scaled to 0..1
  std::vector<double> std;   // of the whole population (divided by n, not n − 1)
};

// Of whole images, which must be of one size. Reads every sample once and counts pixel values
// exactly, so the result depends neither on the order of the samples nor on the machine. Throws
// Error{kBadData} for a channel that is constant, since nothing can be divided by its deviation.
ChannelStatistics channel_statistics(const Dataset& dataset);

}  // namespace largo::data
