// Whether two data sets are the same, wherever they lie.
#pragma once

#include <string>

#include "trainer/data/dataset.h"

namespace largo::data {

// A hash of sizes, shape, classes, all labels, the stored size of every sample, and mean and
// deviation of the pixels: the same for a copy in another place, and another one for samples that
// are missing, more, changed or in another order. Reads no pixels.
std::string fingerprint(const Datasets& sets);

}  // namespace largo::data
