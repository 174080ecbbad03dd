#include "trainer/data/catalog.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "comm/base/error.h"
#include "comm/base/suggest.h"
#include "trainer/base/keyed_random.h"
#include "trainer/data/cifar_data.h"
#include "trainer/data/idx_data.h"
#include "trainer/data/image_folder.h"
#include "trainer/data/statistics.h"
#include "trainer/data/synthetic_data.h"
#include "trainer/data/tar_shards.h"

namespace largo::data {

namespace {

// Some samples of a set, in any order.
class Subset final : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> all, std::vector<int64_t> indices)
      : all_(std::move(all)), indices_(std::move(indices)) {}

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  int64_t classes() const override { return all_->classes(); }
  SampleShape shape() const override { return all_->shape(); }
  int64_t label(int64_t index) const override { return all_->label(at(index)); }
  void read(int64_t index, const Framing& framing, Image& image) const override {
    all_->read(at(index), framing, image);
  }
  int64_t stored_bytes(int64_t index) const override { return all_->stored_bytes(at(index)); }
  int64_t shard(int64_t index) const override { return all_->shard(at(index)); }

 private:
  int64_t at(int64_t index) const { return indices_[static_cast<size_t>(index)]; }

  std::shared_ptr<const Dataset> all_;
  std::vector<int64_t> indices_;
};

int64_t held_out(int64_t samples, const DataOptions& options) {
  const auto count =
      static_cast<int64_t>(std::llround(options.val_fraction * static_cast<double>(samples)));
  if (count < 1 || count >= samples) {
    throw OptionError(
        {"data.val_fraction", concat(options.val_fraction, " of ", samples, " samples holds out ",
                                     count, "; at least one must be held out and one be left")});
  }
  return count;
}

struct Split {
  std::vector<int64_t> train;  // ascending
  std::vector<int64_t> val;
};

// Which samples are held out: the same for every run, so that runs of several seeds compare.
Split hold_out(int64_t samples, const DataOptions& options) {
  std::vector<int64_t> order(static_cast<size_t>(samples));
  std::iota(order.begin(), order.end(), int64_t{0});
  KeyedRandom random(/*seed=*/0, Purpose::kHoldOut, 0, 0);
  for (size_t last = order.size() - 1; last > 0; --last) {
    std::swap(order[last], order[random.below(last + 1)]);
  }
  const auto middle = order.begin() + held_out(samples, options);
  std::sort(order.begin(), middle);
  std::sort(middle, order.end());
  return {.train = {middle, order.end()}, .val = {order.begin(), middle}};
}

void require_validation(bool present, const DataOptions& options) {
  if (present) return;
  throw OptionError({"data.val_fraction",
                     concat("data.path ", options.path, " has no validation part; give ",
                            "data.val_path, or data.val_fraction: 0.1 to hold out a tenth of the ",
                            "training samples")});
}

// What the model sees of stored images of this shape.
SampleShape sample_shape(const DataOptions& options, const SampleShape& stored) {
  const int64_t side = std::max(options.augment.resized_crop, options.image_size);
  const SampleShape shape = side > 0 ? SampleShape{stored.channels, side, side}
                                     : SampleShape{stored.channels, stored.height, stored.width};
  if (shape.values() == 0) {
    throw OptionError({"data.image_size",
                       "is needed: the images differ in size; legal: data.image_size, or "
                       "data.augment.resized_crop"});
  }
  const int64_t smaller = std::min(shape.height, shape.width);
  if (options.augment.cutout > smaller) {
    throw OptionError({"data.augment.cutout",
                       concat(options.augment.cutout, " does not fit into samples of ",
                              shape.height, " x ", shape.width, "; legal: at most ", smaller)});
  }
  return shape;
}

int64_t limited(int64_t samples, const DataOptions& options) {
  const int64_t limit = options.limit.value_or(samples);
  if (limit > samples) {
    throw OptionError(
        {"data.limit", concat(limit, " is more than the ", samples,
                              " training samples that there are; legal: at most ", samples)});
  }
  return limit;
}

void check_channels(const DataOptions& options, const SampleShape& shape) {
  const auto check_one = [&](const char* key, const std::vector<double>& values) {
    if (values.empty() || static_cast<int64_t>(values.size()) == shape.channels) return;
    throw OptionError(
        {key, concat("has ", values.size(), " values, but the images have ", shape.channels,
                     shape.channels == 1 ? " channel" : " channels", "; legal: one value each")});
  };
  check_one("data.mean", options.mean);
  check_one("data.std", options.std);
}

}  // namespace

void DataCatalog::add(std::string kind, DataKind data) {
  LARGO_CHECK(!kinds_.contains(kind), "data kind ", kind, " is added twice");
  kinds_.emplace(std::move(kind), std::move(data));
}

std::vector<std::string> DataCatalog::kinds() const {
  std::vector<std::string> names;
  for (const auto& [name, data] : kinds_) names.push_back(name);
  return names;
}

std::vector<OptionProblem> DataCatalog::check(const DataOptions& options) const {
  if (kinds_.contains(options.kind)) return {};
  std::string words;
  for (const auto& [name, data] : kinds_) words += (words.empty() ? "" : " | ") + name;
  return {{"data.kind", concat('"', options.kind, "\" is not known; legal: ", words,
                               did_you_mean(options.kind, kinds()))}};
}

const DataKind& DataCatalog::find(const DataOptions& options) const {
  for (const OptionProblem& problem : check(options)) throw OptionError(problem);
  return kinds_.at(options.kind);
}

std::string DataCatalog::index(const DataOptions& options, const IndexContext& context) const {
  const DataKind& kind = find(options);
  return kind.index ? kind.index(options, context) : std::string();
}

DataInfo DataCatalog::describe(const DataOptions& options, const std::string& index) const {
  DataInfo info = find(options).describe(options, index);
  if (options.val_fraction > 0) {
    info.val_samples = held_out(info.train_samples, options);
    info.train_samples -= *info.val_samples;
  }
  require_validation(info.val_samples.has_value(), options);
  info.train_samples = limited(info.train_samples, options);
  info.shape = sample_shape(options, info.shape);
  check_channels(options, info.shape);
  return info;
}

Datasets DataCatalog::load(const DataOptions& options, const std::string& index,
                           uint64_t seed) const {
  Datasets sets = find(options).load(options, index, seed);
  if (options.val_fraction > 0) {
    const std::shared_ptr<const Dataset> all = std::move(sets.train);
    Split split = hold_out(all->size(), options);
    sets.train = std::make_unique<Subset>(all, std::move(split.train));
    sets.val = std::make_unique<Subset>(all, std::move(split.val));
  }
  require_validation(sets.val != nullptr, options);
  LARGO_CHECK(sets.train->shape().channels == sets.val->shape().channels &&
                  sets.train->classes() == sets.val->classes(),
              "training and validation samples of kind ", options.kind,
              " differ in channels or classes");
  const SampleShape shape = sample_shape(options, sets.train->shape());
  check_channels(options, shape);
  if (const int64_t size = limited(sets.train->size(), options); size < sets.train->size()) {
    std::vector<int64_t> first(static_cast<size_t>(size));
    std::iota(first.begin(), first.end(), int64_t{0});
    sets.train = std::make_unique<Subset>(std::move(sets.train), std::move(first));
  }
  if (!options.mean.empty()) {
    sets.mean = options.mean;
    sets.std = options.std;
  } else if (sets.mean.empty()) {
    ChannelStatistics computed = channel_statistics(*sets.train);
    sets.mean = std::move(computed.mean);
    sets.std = std::move(computed.std);
  }
  return sets;
}

std::vector<std::filesystem::path> DataCatalog::files(const DataOptions& options,
                                                      const std::string& index) const {
  const DataKind& kind = find(options);
  return kind.files ? kind.files(options, index) : std::vector<std::filesystem::path>();
}

Framing train_framing(const DataOptions& options, const SampleShape& shape) {
  Framing framing = eval_framing(options, shape);
  if (options.augment.resized_crop > 0) framing.cut = Cut::kRandom;
  return framing;
}

Framing eval_framing(const DataOptions& options, const SampleShape& shape) {
  constexpr double kShareOfCentre = 0.875;  // 224 of 256
  Framing framing{.height = shape.height, .width = shape.width};
  if (options.augment.resized_crop > 0) {
    framing.cut = Cut::kCenter;
    framing.share = kShareOfCentre;
  } else if (options.image_size > 0) {
    framing.cut = Cut::kCenter;
  }
  return framing;
}

void add_builtin_data(DataCatalog& catalog) {
  catalog.add("cifar10", cifar10_data());
  catalog.add("cifar100", cifar100_data());
  catalog.add("idx", idx_data());
  catalog.add("image_folder", image_folder_data());
  catalog.add("synthetic", synthetic_data());
  catalog.add("tar_shards", tar_shards_data());
}

}  // namespace largo::data
