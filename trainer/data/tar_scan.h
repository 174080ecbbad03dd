// Makes the index of tar shards by reading them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trainer/data/options.h"
#include "trainer/data/tar_index.h"

namespace largo::data {

struct TarScanOptions {
  OnBadSample on_bad_sample = OnBadSample::kError;
  std::optional<int64_t> classes = {};  // labels are below it
  int threads = 8;                      // shards that are read at a time: the wait is for storage
};

// Of the shards in this order. Shards without samples are legal. shape.channels is 1 where the
// first image of every shard is grey.
// Bad samples (see find_samples; also a shard's first image, if its header cannot be read) throw
// Error{kBadData}, or, under kSkip, are left out, and `warn` is told of the first few and of their
// number. It is also told of shards without end mark.
// Throws Error{kBadData} where more than SkippedSamples::most() of the samples are bad, or where
// there are none, and what OpenFile and TarReader throw; of several errors, the first in the order
// of the shards.
TarIndex scan_shards(const std::vector<std::filesystem::path>& shards,
                     const TarScanOptions& options,
                     const std::function<void(const std::string&)>& warn);

}  // namespace largo::data
