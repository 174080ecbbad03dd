// The data kind "image_folder": JPEG and PNG files, a folder per class.
#pragma once

#include "trainer/data/catalog.h"

namespace largo::data {

// data.path holds a folder per class, or train/ with a folder per class and val/, valid/,
// validation/ or test/ (the first that is there). data.val_path, a folder per class too, replaces
// the latter, and data.val_fraction makes it needless. Classes are numbered in the order of their
// names' bytes. Every training class must have an image; validation may lack classes, but has no
// others. Which files count, and in which order: scan_classes(). Files beside the folders of the
// classes are ignored.
//
// Images are grey where the first one of every class is, otherwise all are read as colour. Without
// data.image_size and data.augment.resized_crop all must have the size of the first. Mean and std
// are ImageNet's.
//
// The index is kept in data.path or the fallback folder, and made again when a folder was changed.
// Throws Error{kInputMissing}, Error{kBadData} or Error{kIo}.
DataKind image_folder_data();

}  // namespace largo::data
