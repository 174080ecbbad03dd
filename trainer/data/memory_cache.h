// Samples that are decoded once and then stay in memory.
#pragma once

#include <cstdint>
#include <memory>

#include "trainer/data/dataset.h"
#include "trainer/data/framing.h"

namespace largo::data {

// Returns a set that keeps what it reads, as `framing` asks for it and at its final size: the next
// read of a sample is a copy. It does so where that is possible and useful: the cut is not random,
// all samples together take at most `most_bytes`, and `set` reads from storage. Otherwise it
// returns `set` itself.
//
// The set that keeps may only be asked for framings of the same cut, size and share. A sample that
// cannot be read is not kept: its error is thrown again with every read. Two threads that need the
// same sample at once may both read it.
std::unique_ptr<const Dataset> keep_in_memory(std::unique_ptr<const Dataset> set,
                                              const Framing& framing, int64_t most_bytes);

}  // namespace largo::data
