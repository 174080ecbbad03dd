#include "trainer/data/image_folder.h"

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "trainer/data/encoded_dataset.h"
#include "trainer/data/file_bytes.h"
#include "trainer/data/folder_index.h"
#include "trainer/data/folder_indexing.h"
#include "trainer/data/imagenet_statistics.h"

namespace largo::data {

namespace {

namespace fs = std::filesystem;

class ImageFolder final : public EncodedDataset {
 public:
  ImageFolder(SampleShape shape, int64_t classes, fs::path root, FolderFiles files)
      : EncodedDataset(shape),
        classes_(classes),
        root_(std::move(root)),
        files_(std::move(files)) {}

  int64_t size() const override { return files_.size(); }
  int64_t classes() const override { return classes_; }
  int64_t label(int64_t index) const override { return files_.label(index); }
  int64_t stored_bytes(int64_t index) const override {
    std::error_code error;
    const uintmax_t bytes = fs::file_size(path(index), error);
    return error ? 0 : static_cast<int64_t>(bytes);
  }

 private:
  fs::path path(int64_t index) const { return root_ / files_.path(index); }
  void fetch(int64_t index, std::vector<uint8_t>& file) const override {
    read_file_bytes(path(index), "it was there when data.path was indexed", kMostImageFileBytes,
                    file);
  }
  std::string name(int64_t index) const override { return path(index).string(); }

  int64_t classes_;
  fs::path root_;
  FolderFiles files_;
};

SampleShape stored_shape(const DataOptions& options, const FolderIndex& index) {
  const bool resized = options.image_size > 0 || options.augment.resized_crop > 0;
  return resized ? SampleShape{index.shape.channels, 0, 0} : index.shape;
}

DataInfo describe_folders(const DataOptions& options, const std::string& bytes) {
  const FolderIndex index = parse_folder_index(bytes);
  DataInfo info{.train_samples = index.train.size(),
                .val_samples = {},
                .shape = stored_shape(options, index),
                .classes = static_cast<int64_t>(index.classes.size())};
  if (index.val) info.val_samples = index.val->size();
  return info;
}

Datasets load_folders(const DataOptions& options, const std::string& bytes, uint64_t) {
  FolderIndex index = parse_folder_index(bytes);
  const SampleShape shape = stored_shape(options, index);
  const auto classes = static_cast<int64_t>(index.classes.size());
  ChannelStatistics statistics = imagenet_statistics(shape.channels);
  Datasets sets{
      .train = {}, .val = {}, .mean = std::move(statistics.mean), .std = std::move(statistics.std)};
  sets.train = std::make_unique<ImageFolder>(shape, classes, train_root(options, index),
                                             std::move(index.train));
  if (index.val) {
    sets.val = std::make_unique<ImageFolder>(shape, classes, val_root(options, index),
                                             std::move(*index.val));
  }
  return sets;
}

std::vector<fs::path> files_of_folders(const DataOptions& options, const std::string& bytes) {
  const FolderIndex index = parse_folder_index(bytes);
  std::vector<fs::path> paths;
  const auto append = [&paths](const fs::path& root, const FolderFiles& files) {
    for (int64_t i = 0; i < files.size(); ++i) paths.push_back(root / files.path(i));
  };
  append(train_root(options, index), index.train);
  if (index.val) append(val_root(options, index), *index.val);
  return paths;
}

}  // namespace

DataKind image_folder_data() {
  const auto index = [](const DataOptions& options, const IndexContext& context) {
    return encode(index_folders(options, context));
  };
  return {.index = index,
          .describe = describe_folders,
          .load = load_folders,
          .files = files_of_folders};
}

}  // namespace largo::data
