// data.stage: the files of a data set, copied to a disk of the node before training.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/data/options.h"

namespace largo::data {

// The same options with data.path and data.val_path below data.stage, where their copies lie: the
// folder and, below it, the whole absolute path. Unchanged without data.stage.
DataOptions staged(const DataOptions& options);

// Copies each file to where staged() looks for it, unless a file of that size and time of change
// is there already. For one rank of each node; other jobs that stage into the same folder wait
// for each other. A copy appears under its name when it is complete. Throws Error{kInputMissing}
// for a file that is not there, Error{kIo} for a folder that cannot be written or is too small,
// with the free space.
void stage_files(const std::vector<std::filesystem::path>& files, const std::string& stage);

}  // namespace largo::data
