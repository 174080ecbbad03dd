#include "trainer/data/idx_data.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "comm/base/error.h"
#include "trainer/data/array_dataset.h"
#include "trainer/data/idx_file.h"

namespace largo::data {

namespace {

namespace fs = std::filesystem;

constexpr const char* kFashionMnist = "/usr/share/datasets/fashion-mnist";

struct Part {
  fs::path images;
  fs::path labels;
};
struct Files {
  Part train;
  Part val;
};

// The first name that exists of <start><part>-<content>{-,.}<type>{,.gz}; empty if none does.
fs::path find_file(const std::string& start, const std::vector<std::string>& parts,
                   const std::string& content, const std::string& type) {
  std::error_code error;
  for (const std::string& part : parts) {
    for (const char* dash : {"-", "."}) {
      for (const char* ending : {"", ".gz"}) {
        const fs::path file = start + part + "-" + content + dash + type + ending;
        if (fs::exists(file, error)) return file;
      }
    }
  }
  return {};
}

[[noreturn]] void fail_missing(const std::string& path, const std::string& what) {
  const bool fashion = fs::path(path + "/").lexically_normal() == fs::path(kFashionMnist) / "";
  fail(ExitCode::kInputMissing, "data.path ", path, ": ", what, "; ",
       fashion ? "install the Debian package dataset-fashion-mnist, or give data.path"
               : "give data.path the folder that holds the four IDX files");
}

Files find_files(const std::string& path) {
  std::error_code error;
  const bool folder = fs::is_directory(path, error);
  const std::string start = path + (folder ? "/" : "-");
  const auto find = [&](const std::vector<std::string>& parts, const std::string& content,
                        const std::string& type) {
    const fs::path file = find_file(start, parts, content, type);
    if (file.empty()) {
      const std::string name = start + parts.front() + "-" + content + "-" + type;
      fail_missing(path, folder ? concat("there is no ", name, " or ", name, ".gz")
                                : concat("there is no such folder, nor a file ", name, "[.gz]"));
    }
    return file;
  };
  const std::vector<std::string> train = {"train"}, val = {"t10k", "test"};
  return {.train = {find(train, "images", "idx3-ubyte"), find(train, "labels", "idx1-ubyte")},
          .val = {find(val, "images", "idx3-ubyte"), find(val, "labels", "idx1-ubyte")}};
}

void check_counts(const Part& part, int64_t images, size_t labels) {
  if (images == static_cast<int64_t>(labels)) return;
  fail(ExitCode::kBadData, part.images.string(), " holds ", images, " images and ",
       part.labels.string(), " ", labels, " labels; expected as many of the one as of the other");
}

SampleShape common_shape(const Files& files, const std::vector<int64_t>& train,
                         const std::vector<int64_t>& val) {
  if (train[1] != val[1] || train[2] != val[2]) {
    fail(ExitCode::kBadData, "images of ", files.train.images.string(), " are ", train[1], " x ",
         train[2], " pixels and those of ", files.val.images.string(), " ", val[1], " x ", val[2],
         "; expected one size");
  }
  return {1, train[1], train[2]};
}

int64_t count_classes(const std::vector<uint8_t>& train, const std::vector<uint8_t>& val) {
  return 1 + std::max(*std::max_element(train.begin(), train.end()),
                      *std::max_element(val.begin(), val.end()));
}

DataInfo describe_idx(const DataOptions& options, const std::string&) {
  const Files files = find_files(options.path);
  const std::vector<int64_t> train_dims = read_idx_dims(files.train.images, 3);
  const std::vector<int64_t> val_dims = read_idx_dims(files.val.images, 3);
  const IdxArray train_labels = read_idx(files.train.labels, 1);
  const IdxArray val_labels = read_idx(files.val.labels, 1);
  check_counts(files.train, train_dims[0], train_labels.bytes.size());
  check_counts(files.val, val_dims[0], val_labels.bytes.size());
  return {.train_samples = train_dims[0],
          .val_samples = val_dims[0],
          .shape = common_shape(files, train_dims, val_dims),
          .classes = count_classes(train_labels.bytes, val_labels.bytes)};
}

Datasets load_idx(const DataOptions& options, const std::string&, uint64_t) {
  const Files files = find_files(options.path);
  const auto read_part = [](const Part& part) {
    auto arrays = std::pair(read_idx(part.images, 3), read_idx(part.labels, 1));
    check_counts(part, arrays.first.dims[0], arrays.second.bytes.size());
    return arrays;
  };
  auto [train_images, train_labels] = read_part(files.train);
  auto [val_images, val_labels] = read_part(files.val);
  const SampleShape shape = common_shape(files, train_images.dims, val_images.dims);
  const int64_t classes = count_classes(train_labels.bytes, val_labels.bytes);
  Datasets sets;
  sets.train = std::make_unique<ArrayDataset>(shape, classes, std::move(train_images.bytes),
                                              std::move(train_labels.bytes));
  sets.val = std::make_unique<ArrayDataset>(shape, classes, std::move(val_images.bytes),
                                            std::move(val_labels.bytes));
  return sets;
}

std::vector<fs::path> files_of_idx(const DataOptions& options, const std::string&) {
  const Files files = find_files(options.path);
  return {files.train.images, files.train.labels, files.val.images, files.val.labels};
}

}  // namespace

DataKind idx_data() { return {.describe = describe_idx, .load = load_idx, .files = files_of_idx}; }

}  // namespace largo::data
