// Which images the folders of a data set hold: what is sent to all ranks and kept between runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/data/dataset.h"

namespace largo::data {

// The images of one part, training or validation, in the order of the samples. Takes 12
// bytes and its name per image.
class FolderFiles {
 public:
  struct Folder {
    std::string path;      // below the part's folder: that of a class, or one inside it
    uint32_t label = 0;    // the class
    uint64_t changed = 0;  // time of the last change, in nanoseconds
  };

  explicit FolderFiles(std::vector<Folder> folders) : folders_(std::move(folders)) {}

  // `folder` is the place in `folders`.
  void add(uint32_t folder, std::string_view name);

  int64_t size() const { return static_cast<int64_t>(folder_of_.size()); }
  const std::vector<Folder>& folders() const { return folders_; }
  int64_t label(int64_t index) const { return folder(index).label; }
  std::string path(int64_t index) const;  // below the part's folder

 private:
  friend std::string encode(const struct FolderIndex& index);

  const Folder& folder(int64_t index) const {
    return folders_[folder_of_[static_cast<size_t>(index)]];
  }
  std::string_view name(int64_t index) const;

  std::vector<Folder> folders_;
  std::string names_;                // one after the other
  std::vector<uint64_t> name_ends_;  // in names_
  std::vector<uint32_t> folder_of_;
};

struct FolderIndex {
  std::vector<std::string> classes;  // sorted
  SampleShape shape;                 // of the first training image
  std::string train_root;            // folder of the classes' folders, below data.path or itself
  std::string val_root;              // the same, where data.val_path is not given
  FolderFiles train{{}};
  std::optional<FolderFiles> val;
  uint64_t left_out = 0;  // files that are no images
  std::string left_out_example;
};

std::string encode(const FolderIndex& index);

// Throws Error{kBadData} for bytes that encode() does not make, or that name files outside the
// part's folder. Memory is only taken for what is there.
FolderIndex parse_folder_index(std::string_view bytes);

}  // namespace largo::data
