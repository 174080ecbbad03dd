// The data kinds "cifar10" and "cifar100": their binary versions.
#pragma once

#include "trainer/data/catalog.h"

namespace largo::data {

// Read {data_batch_1 … data_batch_5,test_batch}.bin or {train,test}.bin from the folder data.path,
// or from the one inside it that the published archive makes (cifar-10-batches-bin,
// cifar-100-binary). CIFAR-100's labels are the fine ones. Files may hold any number of records.
// Everything is held in memory. Throw Error{kInputMissing} or Error{kBadData}.
DataKind cifar10_data();
DataKind cifar100_data();

}  // namespace largo::data
