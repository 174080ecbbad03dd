#include "trainer/nn/catalog.h"

#include <utility>

#include "comm/base/error.h"
#include "comm/base/suggest.h"
#include "trainer/nn/lenet.h"
#include "trainer/nn/memory_format.h"
#include "trainer/nn/mlp.h"
#include "trainer/nn/resnet.h"

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
  for (const int64_t depth : {8, 20, 32, 44, 56, 110}) {
    catalog.add(concat("resnet", depth), cifar_resnet_entry(depth));
  }
}

std::vector<OptionProblem> check_no_norm(const ModelSpec& spec) {
  if (!spec.norm_given) return {};
  return {{"model.norm.kind", spec.options.name + " has no normalization; leave model.norm out"}};
}

std::vector<OptionProblem> check_groups(const ModelSpec& spec, const std::string& layer,
                                        int64_t channels) {
  const int64_t groups = spec.options.norm.groups;
  if (spec.options.norm.kind != NormKind::kGroup || channels % groups == 0) return {};
  std::vector<std::string> legal;
  for (int64_t divisor = 1; divisor <= channels; ++divisor) {
    if (channels % divisor == 0) legal.push_back(std::to_string(divisor));
  }
  return {{"model.norm.groups", concat(groups, " groups do not divide the ", channels,
                                       " channels of ", layer, "; legal: ", join(legal))}};
}

}  // namespace largo::nn
