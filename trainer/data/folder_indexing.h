// Finds the parts, classes and images of an image folder, or a kept index of them.
#pragma once

#include <cstdint>
#include <filesystem>

#include "trainer/data/catalog.h"
#include "trainer/data/folder_index.h"
#include "trainer/data/options.h"

namespace largo::data {

constexpr uint64_t kMostImageFileBytes = uint64_t{1} << 30;

// What image_folder.h says of files, classes and the kept index.
FolderIndex index_folders(const DataOptions& options, const IndexContext& context);

// The folders that hold the folders of the classes.
std::filesystem::path train_root(const DataOptions& options, const FolderIndex& index);
std::filesystem::path val_root(const DataOptions& options, const FolderIndex& index);

}  // namespace largo::data
