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
  if (options.val_fraction > 0) {
    problems.push_back({"data.val_fraction", "synthetic has a validation part; leave it out"});
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

void declare_augmentation(OptionTable& table, DataOptions& options) {
  AugmentOptions& augment = options.augment;
  table.add("data.augment.pad_crop", augment.pad_crop, between<int64_t>(0, 1024),
            {.description = "black border added on each side before a random crop to the old size",
             .unit = "pixels"});
  table.add("data.augment.flip", augment.flip, Range<bool>{},
            {.description = "mirror left and right, with probability one half"});
  table.add(
      "data.augment.resized_crop", augment.resized_crop, between<int64_t>(0, 4096),
      {.description = "side of a random part of the image (8 % to all of its area, brought to "
                      "this size); evaluation then sees the centre, 7/8 of the shorter side. "
                      "0: none",
       .unit = "pixels"});
  table.add(
      "data.augment.cutout", augment.cutout, between<int64_t>(0, 4096),
      {.description = "side of a square, at a random place, that gets the mean colour; 0: none",
       .unit = "pixels"});
  table.add("data.mixup", options.mixup, at_least(0.0),
            {.description = "alpha: every image is mixed with the next one of its batch, with a "
                            "share drawn from Beta(alpha, alpha) for each step. 0: none"});
  table.add(
      "data.image_size", options.image_size, between<int64_t>(0, 4096),
      {.description = "side that images are brought to: shorter side resized, centre cut out; "
                      "0: the files' own size, which must then be one",
       .unit = "pixels"});
}

void declare_order(OptionTable& table, ShuffleOptions& shuffle) {
  const AppliesTo blocks_only = {"data.shuffle.kind", {"blocks"}};
  table.add_choice<ShuffleKind>(
      "data.shuffle.kind", shuffle.kind,
      {{"full", ShuffleKind::kFull}, {"blocks", ShuffleKind::kBlocks}},
      {.description = "order of an epoch: one permutation of all samples, or, for storage that "
                      "dislikes random reads, shards in random order, shuffled within a window"});
  table.add("data.shuffle.shards", shuffle.shards, at_least<int64_t>(1),
            {.description = "shards that are read side by side", .applies = blocks_only});
  table.add("data.shuffle.window", shuffle.window, at_least<int64_t>(1),
            {.description = "samples that are shuffled among each other",
             .unit = "samples",
             .applies = blocks_only});
}

}  // namespace

void declare_options(OptionTable& table, DataOptions& options) {
  const std::string kind = "data.kind";
  const AppliesTo synthetic_only = {kind, {"synthetic"}};
  table.add(kind, options.kind, Range<std::string>{},
            {.description = "format of the data set", .required = true});
  table.add("data.path", options.path, Range<std::string>{},
            {.description = "folder of the data set's files; for idx also a folder and the start "
                            "of file names (emnist/emnist-letters), for tar_shards the shards "
                            "(train-{0000..0146}.tar)",
             .is_path = true});
  table.add("data.val_path", options.val_path, Range<std::string>{},
            {.description = "the same of the validation part, where data.path does not hold it",
             .applies = {kind, {"image_folder", "tar_shards"}},
             .is_path = true});
  table.add("data.val_fraction", options.val_fraction, between(0.0, 0.5),
            {.description = "share of the training samples that is held out and used for "
                            "validation instead of the format's own part; which ones does not "
                            "depend on run.seed. 0: none"});
  table.add("data.limit", options.limit, at_least<int64_t>(1),
            {.description = "train on the first so many samples; evaluation stays whole",
             .unit = "samples"});
  table.add("data.mean", options.mean, between(0.0, 1.0),
            {.description = "subtracted per channel from pixels scaled to 0..1; left out: computed "
                            "from the training set, for image_folder and tar_shards ImageNet's"});
  table.add("data.std", options.std, above(0.0),
            {.description = "divides each channel after data.mean is subtracted"});
  table.add("data.shape", options.shape, between<int64_t>(1, 4096),
            {.description = "channels, height, width", .applies = synthetic_only});
  table.add("data.classes", options.classes, between<int64_t>(2, 1'000'000),
            {.description = "number of classes; left out: 10 for synthetic, one more than the "
                            "largest label for tar_shards",
             .applies = {kind, {"synthetic", "tar_shards"}}});
  declare_augmentation(table, options);
  declare_order(table, options.shuffle);
  table.add("data.workers", options.workers, between<int64_t>(0, 256),
            {.description = "threads per rank that make batches ahead; 0: made when asked for",
             .effect = Effect::kSpeed});
  table.add("data.stage", options.stage, Range<std::string>{},
            {.description = "folder, on a disk of each node, that the files are copied to first; "
                            "left out: none",
             .effect = Effect::kSpeed,
             .is_path = true});
  table.add_choice<OnBadSample>(
      "data.on_bad_sample", options.on_bad_sample,
      {{"error", OnBadSample::kError}, {"skip", OnBadSample::kSkip}},
      {.description = "a sample that cannot be read: stop, or take the next one of the set in its "
                      "place (and stop above 0.1 % of an epoch)"});
}

std::vector<OptionProblem> check(const DataOptions& options) {
  std::vector<OptionProblem> problems;
  if (options.kind == "idx" && options.path.empty()) {
    problems.push_back({"data.path", "is needed by kind idx: the folder of its files"});
  }
  for (const char* kind : {"cifar10", "cifar100", "image_folder", "tar_shards"}) {
    if (options.kind != kind || !options.path.empty()) continue;
    problems.push_back({"data.path", concat("is needed by kind ", kind)});
  }
  if (options.kind == "synthetic") check_synthetic(options, problems);
  check_mean_and_std(options, problems);
  if (!options.val_path.empty() && options.val_fraction > 0) {
    problems.push_back(
        {"data.val_fraction", "is given beside data.val_path; legal: one of the two"});
  }
  const int64_t crop = options.augment.resized_crop;
  if (crop > 0 && options.image_size > 0 && crop != options.image_size) {
    problems.push_back(
        {"data.image_size",
         concat(options.image_size, " is not data.augment.resized_crop, ", crop, "; legal: ", crop,
                ", or leave it out: training and evaluation see "
                "images of one size")});
  }
  return problems;
}

}  // namespace largo::data
