#include "trainer/data/catalog.h"

#include <utility>

#include "comm/base/error.h"
#include "comm/base/suggest.h"
#include "trainer/data/idx_data.h"
#include "trainer/data/statistics.h"
#include "trainer/data/synthetic_data.h"

namespace largo::data {

namespace {

class FirstSamples final : public Dataset {
 public:
  FirstSamples(std::unique_ptr<const Dataset> all, int64_t size)
      : all_(std::move(all)), size_(size) {}

  int64_t size() const override { return size_; }
  SampleShape shape() const override { return all_->shape(); }
  int64_t classes() const override { return all_->classes(); }
  int64_t label(int64_t index) const override { return all_->label(index); }
  void read(int64_t index, std::span<uint8_t> hwc) const override { all_->read(index, hwc); }

 private:
  std::unique_ptr<const Dataset> all_;
  int64_t size_;
};

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

DataInfo DataCatalog::describe(const DataOptions& options) const {
  DataInfo info = find(options).describe(options);
  info.train_samples = limited(info.train_samples, options);
  check_channels(options, info.shape);
  return info;
}

Datasets DataCatalog::load(const DataOptions& options, uint64_t seed) const {
  Datasets sets = find(options).load(options, seed);
  LARGO_CHECK(
      sets.train->shape() == sets.val->shape() && sets.train->classes() == sets.val->classes(),
      "training and validation samples of kind ", options.kind, " differ in shape");
  check_channels(options, sets.train->shape());
  if (const int64_t size = limited(sets.train->size(), options); size < sets.train->size()) {
    sets.train = std::make_unique<FirstSamples>(std::move(sets.train), size);
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

void add_builtin_data(DataCatalog& catalog) {
  catalog.add("idx", idx_data());
  catalog.add("synthetic", synthetic_data());
}

}  // namespace largo::data
