// Options of the data set, its augmentation and its loader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"

namespace largo::data {

struct AugmentOptions {
  int64_t pad_crop = 0;  // pixels of zero padding on each side before a random crop back
  bool flip = false;     // left-right, with probability one half
};

struct DataOptions {
  std::string kind;              // idx, synthetic, or one that the user's catalog adds
  std::string path;              // folder of the files; synthetic has none
  std::optional<int64_t> limit;  // first N training samples
  std::vector<double> mean;      // per channel, of pixels scaled to 0..1; empty: computed
  std::vector<double> std;       // the same
  std::vector<int64_t> shape = {3, 32, 32};  // channels, height, width; synthetic only
  int64_t classes = 10;                      // synthetic only
  AugmentOptions augment;
  int64_t workers = 1;  // threads of the loader per rank; 0: batches are made when asked for
};

void declare_options(OptionTable& table, DataOptions& options);  // data.*

// Combinations that are wrong whatever the files hold.
std::vector<OptionProblem> check(const DataOptions& options);

}  // namespace largo::data
