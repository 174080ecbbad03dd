#include "trainer/nn/catalog.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "comm/base/error.h"
#include "comm/base/suggest.h"
#include "trainer/nn/cnn3.h"
#include "trainer/nn/lenet.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/mlp.h"
#include "trainer/nn/resnet.h"
#include "trainer/nn/vgg.h"

namespace largo::nn {

namespace {

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

void ModelCatalog::add(const std::string& name, ModelEntry entry) {
  LARGO_CHECK(entries_.emplace(name, std::move(entry)).second, "model ", name, " is there already");
  names_.push_back(name);
}

std::vector<OptionProblem> ModelCatalog::check(const ModelSpec& spec) const {
  const auto entry = entries_.find(spec.options.name);
  if (entry != entries_.end()) return entry->second.check(spec);
  return {{"model.name", concat("\"", spec.options.name, "\" is not known; legal: ", join(names_),
                                did_you_mean(spec.options.name, names_))}};
}

std::shared_ptr<Model> ModelCatalog::make(const ModelSpec& spec, comm::Communicator& norm_group,
                                          uint64_t seed) const {
  const auto problems = check(spec);
  if (!problems.empty()) {
    fail(ExitCode::kConfig, problems.front().key, ": ", problems.front().message);
  }
  auto model = entries_.at(spec.options.name).make(spec, norm_group, seed);
  make_channels_last(*model);
  return model;
}

void add_builtin_models(ModelCatalog& catalog) {
  catalog.add("mlp", mlp_entry());
  catalog.add("lenet", lenet_entry());
  catalog.add("cnn3", cnn3_entry());
  catalog.add("vgg16", vgg16_entry());
  for (const int64_t depth : {8, 20, 32, 44, 56, 110}) {
    catalog.add(concat("resnet", depth), cifar_resnet_entry(depth));
  }
  for (const int64_t depth : {18, 34, 50, 101}) {
    catalog.add(concat("resnet", depth), resnet_entry(depth));
  }
}

std::vector<OptionProblem> all_of(std::vector<std::vector<OptionProblem>> found) {
  std::vector<OptionProblem> problems;
  for (auto& some : found) std::move(some.begin(), some.end(), std::back_inserter(problems));
  return problems;
}

std::vector<OptionProblem> check_no_norm(const ModelSpec& spec) {
  std::vector<OptionProblem> problems;
  const std::string& name = spec.options.name;
  if (spec.norm_given) {
    problems.push_back({"model.norm.kind", name + " has no normalization; leave model.norm out"});
  }
  if (spec.options.weight_standardization) {
    problems.push_back({"model.weight_standardization",
                        "is for convolutions that a norm follows; " + name + " has none"});
  }
  return problems;
}

std::vector<OptionProblem> check_no_stem(const ModelSpec& spec) {
  if (!spec.options.stem) return {};
  return {{"model.stem", "is for residual nets; leave it out for " + spec.options.name}};
}

std::vector<OptionProblem> check_size(const ModelSpec& spec, int64_t side) {
  if (std::min(spec.height, spec.width) >= side) return {};
  return {{"model.name", concat(spec.options.name, " takes images of at least ", side, "x", side,
                                "; these are ", spec.height, "x", spec.width)}};
}

std::vector<OptionProblem> check_groups(const ModelSpec& spec, const std::string& layer,
                                        int64_t channels) {
  const NormOptions& norm = spec.options.norm;
  if (norm.kind != NormKind::kGroup || group_count(norm, channels) > 0) return {};
  std::vector<std::string> legal;
  for (int64_t divisor = 1; divisor <= channels; ++divisor) {
    if (channels % divisor == 0) legal.push_back(std::to_string(divisor));
  }
  const std::string what =
      concat("do not divide the ", channels, " channels of ", layer, "; legal: ", join(legal));
  if (norm.channels_per_group) {
    return {{"model.norm.channels_per_group",
             concat("groups of ", *norm.channels_per_group, " ", what)}};
  }
  return {{"model.norm.groups", concat(norm.groups.value_or(kDefaultGroups), " groups ", what)}};
}

std::vector<OptionProblem> check_single_values(const ModelSpec& spec, const std::string& layer,
                                               int64_t channels) {
  const NormOptions& norm = spec.options.norm;
  const bool single = norm.kind == NormKind::kInstance ||
                      (norm.kind == NormKind::kGroup && group_count(norm, channels) == channels);
  if (!single) return {};
  return {{"model.norm.kind", concat(spec.height, "x", spec.width, " images leave one pixel at ",
                                     layer, " of ", spec.options.name,
                                     ", and a norm over single values is zero; legal: larger "
                                     "images, another kind")}};
}

}  // namespace largo::nn
