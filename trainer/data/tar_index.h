// Where every sample of some tar shards is: what is sent to all ranks and kept between runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/dataset.h"
#include "trainer/data/tar_samples.h"

namespace largo::data {

// Of one part, training or validation.
struct TarIndex {
  struct Shard {
    std::string file;  // its name, without folder
    uint64_t bytes = 0;
    size_t end = 0;  // of its samples in `samples`; they start where the shard before ends
  };

  SampleShape shape = {};  // of the images; height and width are 0 where shards differ in it
  int64_t left_out = 0;    // bad samples that are not in the index
  std::vector<Shard> shards = {};
  std::vector<TarSample> samples = {};

  int64_t classes() const;  // one more than the largest label
};

// 16 bytes per sample.
std::string encode(const TarIndex& index);

// Throws Error{kBadData} for bytes that encode() does not make, or that place a sample outside its
// shard. Memory is only taken for what is there.
TarIndex parse_tar_index(std::string_view bytes);

}  // namespace largo::data
