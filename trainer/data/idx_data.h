// The data kind "idx": MNIST, Fashion-MNIST, EMNIST and whatever comes in their four files.
#pragma once

#include "trainer/data/catalog.h"

namespace largo::data {

// Reads {train,t10k}-{images-idx3,labels-idx1}-ubyte, each with or without .gz, from the folder
// data.path. Names with a dot (train-images.idx3-ubyte) and "test" for "t10k" are known too. Where
// data.path is no folder, it is the start of the names: emnist/emnist-letters stands for
// emnist/emnist-letters-train-images-idx3-ubyte and its three companions.
// Classes are counted from the largest label of both parts. Everything is held in memory.
// Throws Error{kInputMissing} or Error{kBadData}.
DataKind idx_data();

}  // namespace largo::data
