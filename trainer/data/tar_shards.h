// The data kind "tar_shards": images and labels in tar archives, as WebDataset makes them.
#pragma once

#include "trainer/data/catalog.h"

namespace largo::data {

// data.path names the training shards (see expand_braces), data.val_path those of the validation
// part, which there is none of without it. See find_samples for what a shard holds. Samples are in
// the order of the shards and of their entries; data.classes, or one more than the largest label,
// classes. Images are read from the shards one by one, wherever they are.
//
// The index is kept beside the first shard, or in the fallback folder, until a shard's name, size
// or time of change is another.
DataKind tar_shards_data();

}  // namespace largo::data
