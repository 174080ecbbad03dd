#include "trainer/data/cifar_data.h"

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/array_dataset.h"
#include "trainer/data/byte_source.h"
#include "trainer/data/cifar_file.h"
#include "trainer/data/file_bytes.h"

namespace largo::data {

namespace {

namespace fs = std::filesystem;

constexpr SampleShape kShape = {3, kCifarSide, kCifarSide};
constexpr uint64_t kMostFileBytes = uint64_t{1} << 32;

struct Format {
  std::string archive_folder;
  std::vector<std::string> train;
  std::vector<std::string> val;
  CifarLabels labels;

  int64_t classes() const { return labels.back(); }
};

Format cifar10_format() {
  Format format{.archive_folder = "cifar-10-batches-bin",
                .train = {},
                .val = {"test_batch.bin"},
                .labels = {10}};
  for (int i = 1; i <= 5; ++i) format.train.push_back(concat("data_batch_", i, ".bin"));
  return format;
}

Format cifar100_format() {
  return {.archive_folder = "cifar-100-binary",
          .train = {"train.bin"},
          .val = {"test.bin"},
          .labels = {20, 100}};
}

// The paths of the files, which need not be there.
std::vector<fs::path> find_files(const std::vector<std::string>& names, const DataOptions& options,
                                 const Format& format) {
  const fs::path folder = options.path, inner = folder / format.archive_folder;
  std::error_code error;
  const bool is_outer = fs::exists(folder / format.train.front(), error);
  const bool is_inner = !is_outer && fs::is_directory(inner, error);
  std::vector<fs::path> files;
  files.reserve(names.size());
  for (const std::string& name : names) files.push_back((is_inner ? inner : folder) / name);
  return files;
}

std::string cure(const Format& format) {
  return concat("give data.path the folder that holds ", format.train.front(), " … ",
                format.val.back(), ", or one that holds ", format.archive_folder);
}

int64_t count_samples(const std::vector<fs::path>& files, const Format& format) {
  size_t samples = 0;
  for (const fs::path& file : files) {
    const OpenFile open(file, cure(format));
    samples += count_cifar_records(open.size(), format.labels, open.name());
  }
  return static_cast<int64_t>(samples);
}

std::unique_ptr<const Dataset> load_part(const std::vector<fs::path>& files, const Format& format) {
  std::vector<uint8_t> bytes, pixels, classes;
  for (const fs::path& file : files) {
    read_file_bytes(file, cure(format), kMostFileBytes, bytes);
    parse_cifar(bytes, format.labels, file.string(), pixels, classes);
  }
  return std::make_unique<ArrayDataset>(kShape, format.classes(), std::move(pixels),
                                        std::move(classes));
}

DataKind make_kind(const Format& format) {
  const auto files = [format](const std::vector<std::string>& names, const DataOptions& options) {
    return find_files(names, options, format);
  };
  return {
      .describe =
          [=](const DataOptions& options, const std::string&) {
            return DataInfo{.train_samples = count_samples(files(format.train, options), format),
                            .val_samples = count_samples(files(format.val, options), format),
                            .shape = kShape,
                            .classes = format.classes()};
          },
      .load =
          [=](const DataOptions& options, const std::string&, uint64_t) {
            Datasets sets;
            sets.train = load_part(files(format.train, options), format);
            sets.val = load_part(files(format.val, options), format);
            return sets;
          },
      .files =
          [=](const DataOptions& options, const std::string&) {
            std::vector<fs::path> all = files(format.train, options);
            for (fs::path& file : files(format.val, options)) all.push_back(std::move(file));
            return all;
          },
  };
}

}  // namespace

DataKind cifar10_data() { return make_kind(cifar10_format()); }
DataKind cifar100_data() { return make_kind(cifar100_format()); }

}  // namespace largo::data
