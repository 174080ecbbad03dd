// Looks for images in a folder per class.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/data/folder_index.h"

namespace largo::data {

// Files that were passed over.
struct LeftOut {
  uint64_t count = 0;
  std::string example;  // the first one's path

  void add(const std::filesystem::path& path);
};

// Names of the folders in a folder, links to folders included, hidden ones not; sorted by their
// bytes. Throws Error{kInputMissing} where `root` is no folder that can be read.
std::vector<std::string> list_folders(const std::filesystem::path& root);

// In nanoseconds since the epoch. Throws Error{kInputMissing} where there is none.
uint64_t time_of_change(const std::filesystem::path& folder);

// All .jpg, .jpeg and .png files, in lower or upper case, of the folders root/classes[i], at any
// depth; links are followed, hidden files and folders passed over. Class i gets label labels[i].
// Within a class they are in the order of torchvision's ImageFolder, folder by folder; the samples
// go round the classes, the first image of each, then the second, so that any first N of them are
// spread over the classes.
// Throws Error{kInputMissing} for what cannot be read, as links to nothing, and Error{kBadData} for
// a link to a folder that it lies in.
FolderFiles scan_classes(const std::filesystem::path& root, const std::vector<std::string>& classes,
                         const std::vector<uint32_t>& labels, LeftOut& left_out);

}  // namespace largo::data
