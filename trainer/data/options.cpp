#include "trainer/data/options.h"

#include "comm/base/error.h"

namespace largo::data {

namespace {

constexpr int64_t kMostValuesPerImage = int64_t{1} << 26;
constexpr int64_t kMostSyntheticSamples = (int64_t{1} << 31) - 1;

void check_synthetic(const DataOptions& options, std::vector<OptionProblem>& problems) {
  if (!options.path.empty()) {
    problems.push_back({"data.path", "synthetic takes no data.path; leave it out"});
  }
  if (options.limit && *options.limit > kMostSyntheticSamples) {
    problems.push_back(
        {"data.limit", concat(*options.limit, " samples are too many; synthetic has ", "at most ",
                              kMostSyntheticSamples)});
  }
  if (options.shape.size() != 3) {
    problems.push_back(
        {"data.shape", concat("has ", options.shape.size(), " values; legal: three, ",
                              "[channels, height, width]")});
    return;
  }
  int64_t values = 1;
  for (const int64_t length : options.shape) {
    if (values <= kMostValuesPerImage) values *= length;
  }
  if (values > kMostValuesPerImage) {
    problems.push_back({"data.shape", concat("makes images of more than ", kMostValuesPerImage,
                                             " values, which is the most that synthetic has")});
  }
}

void check_mean_and_std(const DataOptions& options, std::vector<OptionProblem>& problems) {
  if (options.mean.empty() != options.std.empty()) {
    const bool has_mean = options.std.empty();
    problems.push_back({has_mean ? "data.mean" : "data.std",
                        concat("is given without ", has_mean ? "data.std" : "data.mean",
                               "; give both or, to have them computed, neither")});
  } else if (options.mean.size() != options.std.size()) {
    problems.push_back({"data.std", concat("has ", options.std.size(), " values and data.mean ",
                                           options.mean.size(), "; each needs one per channel")});
  }
}

}  // namespace

void declare_options(OptionTable& table, DataOptions& options) {
  const AppliesTo synthetic_only = {"data.kind", {"synthetic"}};
  table.add("data.kind", options.kind, Range<std::string>{},
            {.description = "format of the data set", .required = true});
  table.add("data.path", options.path, Range<std::string>{},
            {.description = "folder of the data set's files; for idx also a folder and the start "
                            "of file names (emnist/emnist-letters)",
             .is_path = true});
  table.add("data.limit", options.limit, at_least<int64_t>(1),
            {.description = "train on the first so many samples; evaluation stays whole",
             .unit = "samples"});
  table.add("data.mean", options.mean, between(0.0, 1.0),
            {.description = "subtracted per channel from pixels scaled to 0..1; left out: computed "
                            "from the training set"});
  table.add("data.std", options.std, above(0.0),
            {.description = "divides each channel after data.mean is subtracted"});
  table.add("data.shape", options.shape, between<int64_t>(1, 4096),
            {.description = "channels, height, width", .applies = synthetic_only});
  table.add("data.classes", options.classes, between<int64_t>(2, 1'000'000),
            {.description = "number of classes", .applies = synthetic_only});
  table.add("data.augment.pad_crop", options.augment.pad_crop, between<int64_t>(0, 1024),
            {.description = "black border added on each side before a random crop to the old size",
             .unit = "pixels"});
  table.add("data.augment.flip", options.augment.flip, Range<bool>{},
            {.description = "mirror left and right, with probability one half"});
  table.add("data.workers", options.workers, between<int64_t>(0, 64),
            {.description = "threads per rank that make batches ahead; 0: made when asked for",
             .effect = Effect::kSpeed});
}

std::vector<OptionProblem> check(const DataOptions& options) {
  std::vector<OptionProblem> problems;
  if (options.kind == "idx" && options.path.empty()) {
    problems.push_back({"data.path", "is needed by kind idx: the folder of its files"});
  }
  if (options.kind == "synthetic") check_synthetic(options, problems);
  check_mean_and_std(options, problems);
  return problems;
}

}  // namespace largo::data
