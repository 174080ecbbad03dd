// The data kind "synthetic": images that need no files, for benchmarks and tests.
#pragma once

#include "trainer/data/catalog.h"

namespace largo::data {

// Each class has a coarse random pattern; a sample is its class's pattern under uniform noise, so
// models learn it within a few dozen steps. Shape and classes from data.shape and data.classes,
// data.limit training samples (10240 unless given) and 2048 for validation; labels go round.
// Every pixel follows from (seed, part, index). Made when read, so memory does not depend on the
// number of samples. Mean 0.5 and std 0.2 are given rather than computed.
DataKind synthetic_data();

}  // namespace largo::data
