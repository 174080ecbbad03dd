#include "trainer/nn/options.h"

namespace largo::nn {

void declare_options(OptionTable& table, ModelOptions& options) {
  const std::string kind = "model.norm.kind";
  const AppliesTo with_statistics = {kind, {"batch", "sync_batch"}};
  table.add("model.name", options.name, Range<std::string>{},
            {.description = "model to train", .required = true});
  table.add_choice(kind, options.norm.kind,
                   {{"batch", NormKind::kBatch},
                    {"sync_batch", NormKind::kSyncBatch},
                    {"group", NormKind::kGroup}},
                   {.description = "normalization layers: batch (statistics of each rank's "
                                   "micro-batch), sync_batch (of all ranks') or group"});
  table.add(
      "model.norm.groups", options.norm.groups, at_least<int64_t>(1),
      {.description = "groups that the channels are split into", .applies = {kind, {"group"}}});
  table.add("model.norm.momentum", options.norm.momentum, between(0.0, 1.0),
            {.description = "share of the new statistics in the running ones",
             .applies = with_statistics});
  table.add("model.norm.epsilon", options.norm.epsilon, above(0.0),
            {.description = "added to the variance"});
  table.add("model.zero_init_residual", options.zero_init_residual, Range<bool>{},
            {.description = "the last norm of each residual block starts at zero"});
}

void declare_options(OptionTable& table, LossOptions& options) {
  table.add_choice("loss.kind", options.kind, {{"cross_entropy", std::string("cross_entropy")}},
                   {.description = "loss of one sample"});
  table.add("loss.label_smoothing", options.label_smoothing, between(0.0, 1.0),
            {.description = "share of the target that is spread evenly over all classes"});
}

}  // namespace largo::nn
