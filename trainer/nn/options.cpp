#include "trainer/nn/options.h"

#include <stdexcept>
#include <string_view>

#include "comm/base/error.h"

namespace largo {

nn::SyncRanks OptionCodec<nn::SyncRanks>::parse(std::string_view text) {
  using Kind = nn::SyncRanks::Kind;
  if (text == "world") return {Kind::kWorld, 0};
  if (text == "node") return {Kind::kNode, 0};
  int64_t number = 0;
  try {
    number = OptionCodec<int64_t>::parse(text);
  } catch (const std::invalid_argument&) {
    throw std::invalid_argument("is neither world nor node nor an integer");
  }
  if (number < 1) throw std::invalid_argument("is out of range");
  return {Kind::kNumber, number};
}

std::string OptionCodec<nn::SyncRanks>::print(const nn::SyncRanks& value) {
  switch (value.kind) {
    case nn::SyncRanks::Kind::kWorld:
      return "world";
    case nn::SyncRanks::Kind::kNode:
      return "node";
    case nn::SyncRanks::Kind::kNumber:
      return std::to_string(value.number);
  }
  return {};
}

}  // namespace largo

namespace largo::nn {

void declare_options(OptionTable& table, ModelOptions& options) {
  const std::string kind = "model.norm.kind";
  const auto only = [&](std::vector<std::string> kinds) {
    return AppliesTo{kind, std::move(kinds)};
  };
  const std::vector<std::string> all_but_none = {"batch", "sync_batch", "ghost_batch",
                                                 "group", "layer",      "instance"};
  table.add("model.name", options.name, Range<std::string>{},
            {.description = "model to train", .required = true});
  table.add_choice(kind, options.norm.kind,
                   {{"batch", NormKind::kBatch},
                    {"sync_batch", NormKind::kSyncBatch},
                    {"ghost_batch", NormKind::kGhostBatch},
                    {"group", NormKind::kGroup},
                    {"layer", NormKind::kLayer},
                    {"instance", NormKind::kInstance},
                    {"none", NormKind::kNone}},
                   {.description = "normalization layers: statistics of each rank's micro-batch "
                                   "(batch), of several ranks' (sync_batch), of a fixed number of "
                                   "samples (ghost_batch), or of each sample by itself (group, "
                                   "layer, instance)"});
  table.add("model.norm.sync_ranks", options.norm.sync_ranks, Range<SyncRanks>{},
            {.description = "ranks that share statistics: all, those of a node, or so many "
                            "consecutive ones",
             .applies = only({"sync_batch"})});
  table.add("model.norm.virtual_batch", options.norm.virtual_batch, at_least<int64_t>(1),
            {.description = "samples that share statistics",
             .unit = "samples",
             .applies = only({"ghost_batch"})});
  table.add("model.norm.groups", options.norm.groups, at_least<int64_t>(1),
            {.description = concat("groups that the channels are split into; without either of the "
                                   "two keys ",
                                   kDefaultGroups),
             .applies = only({"group"})});
  table.add(
      "model.norm.channels_per_group", options.norm.channels_per_group, at_least<int64_t>(1),
      {.description = "size of a group, instead of their number", .applies = only({"group"})});
  table.add("model.norm.momentum", options.norm.momentum, between(0.0, 1.0),
            {.description = "share of the new statistics in the running ones",
             .applies = only({"batch", "sync_batch", "ghost_batch"})});
  table.add("model.norm.epsilon", options.norm.epsilon, above(0.0),
            {.description = "added to the variance", .applies = only(all_but_none)});
  table.add("model.norm.affine", options.norm.affine, Range<bool>{},
            {.description = "scale and shift every channel after normalization by learned numbers",
             .applies = only(all_but_none)});
  table.add_choice("model.fused", options.norm.fused, {{"auto", true}, {"off", false}},
                   {.description = "normalization, sum with the shortcut and ReLU as one operation "
                                   "(auto), where the layer is on a CPU and its images are float32 "
                                   "or bfloat16; off: as LibTorch's own",
                    .effect = Effect::kSpeed});
  table.add("model.weight_standardization", options.weight_standardization, Range<bool>{},
            {.description = "convolutions followed by a norm use their weights less the mean, over "
                            "the standard deviation, per output channel"});
  table.add("model.zero_init_residual", options.zero_init_residual, Range<bool>{},
            {.description = "the last norm of each residual block starts at zero; where it has no "
                            "weight, the last convolution"});
  table.add_choice(
      "model.stem", options.stem, {{"cifar", Stem::kCifar}, {"imagenet", Stem::kImagenet}},
      {.description = "first layers of a resnet: a 3x3 convolution, or 7x7 with stride "
                      "2 and max pooling; left out: cifar for resnet8 … resnet110, "
                      "imagenet for the others"});
}

int64_t group_count(const NormOptions& options, int64_t channels) {
  if (options.channels_per_group) {
    const int64_t each = *options.channels_per_group;
    return channels % each == 0 ? channels / each : 0;
  }
  const int64_t groups = options.groups.value_or(kDefaultGroups);
  return channels % groups == 0 ? groups : 0;
}

std::vector<OptionProblem> check(const ModelOptions& options) {
  std::vector<OptionProblem> problems;
  if (options.norm.groups && options.norm.channels_per_group) {
    problems.push_back({"model.norm.channels_per_group",
                        "is given beside model.norm.groups; legal: one of the two"});
  }
  if (options.weight_standardization && options.norm.kind == NormKind::kNone) {
    problems.push_back({"model.weight_standardization",
                        "is for convolutions that a norm follows; model.norm.kind is none"});
  }
  return problems;
}

void declare_options(OptionTable& table, LossOptions& options) {
  table.add_choice("loss.kind", options.kind, {{"cross_entropy", std::string("cross_entropy")}},
                   {.description = "loss of one sample"});
  table.add("loss.label_smoothing", options.label_smoothing, between(0.0, 1.0),
            {.description = "share of the target that is spread evenly over all classes"});
}

std::vector<OptionProblem> check_sync_ranks(const NormOptions& options, int64_t world) {
  const int64_t number = options.sync_ranks.number;
  if (options.kind != NormKind::kSyncBatch || options.sync_ranks.kind != SyncRanks::Kind::kNumber ||
      world % number == 0) {
    return {};
  }
  std::string legal;
  for (int64_t divisor = 1; divisor <= world; ++divisor) {
    if (world % divisor == 0) legal += concat(legal.empty() ? "" : ", ", divisor);
  }
  return {{"model.norm.sync_ranks", concat(number, " does not divide the ", world,
                                           " ranks of this run; legal: world, node, ", legal)}};
}

}  // namespace largo::nn
