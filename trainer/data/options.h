// Options of the data set, its augmentation and its loader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"

namespace largo::data {

struct AugmentOptions {
  int64_t pad_crop = 0;      // pixels of black on each side before a random crop back
  bool flip = false;         // left-right, with probability one half
  int64_t resized_crop = 0;  // side of random-resized crops; 0: none
  int64_t cutout = 0;        // side of a random square of the mean colour; 0: none
};

enum class ShuffleKind { kFull, kBlocks };

struct ShuffleOptions {
  ShuffleKind kind = ShuffleKind::kFull;
  int64_t shards = 16;     // blocks only: shards that are read at a time
  int64_t window = 10000;  // blocks only: samples that are shuffled at a time
};

enum class OnBadSample { kError, kSkip };

struct DataOptions {
  std::string kind;              // idx, cifar10, …, or one that the user's catalog adds
  std::string path;              // folder of the files, or tar shards; synthetic has none
  std::string val_path;          // of the validation part; empty: the kind's own
  double val_fraction = 0;       // of the training samples, held out for validation
  std::optional<int64_t> limit;  // first N training samples
  std::vector<double>
      mean;                 // per channel, of pixels scaled to 0..1; empty: the kind's, or computed
  std::vector<double> std;  // the same
  std::vector<int64_t> shape = {3, 32, 32};  // channels, height, width; synthetic only
  std::optional<int64_t> classes;            // synthetic (10 unless given), tar_shards
  AugmentOptions augment;
  double mixup = 0;        // alpha of the Beta distribution; 0: none
  int64_t image_size = 0;  // side that images are brought to; 0: the files'
  ShuffleOptions shuffle;
  int64_t workers = 1;  // threads of the loader per rank; 0: batches are made when asked for
  std::string stage;    // folder on a local disk that the files are copied to; empty: none
  OnBadSample on_bad_sample = OnBadSample::kError;
};

void declare_options(OptionTable& table, DataOptions& options);  // data.*

// Combinations that are wrong whatever the files hold.
std::vector<OptionProblem> check(const DataOptions& options);

}  // namespace largo::data
