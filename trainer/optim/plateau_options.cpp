// The keys of the policies that follow training.
#include <string>

#include "comm/base/error.h"
#include "trainer/optim/policy_options.h"

namespace largo::optim {

namespace {

Range<Duration> longer_than_nothing() {
  return {"> 0", [](const Duration& d) { return d.amount > 0; }};
}

void declare_level(OptionTable& table, const std::string& prefix, PolicyPiece& level) {
  const std::string policy = prefix + ".policy";
  table.add(prefix + ".base", level.base, above(0.0),
            {.description = "learning rate at lr.base_batch; omitted: lr.base",
             .applies = policies_with_base(policy)});
  declare_policy(table, policy, level.policy);
}

void declare_reduce(OptionTable& table, const std::string& prefix, PlateauOptions& plateau) {
  const AppliesTo reduce = {prefix + ".kind", {"plateau_reduce"}};
  table.add(prefix + ".factor", plateau.factor,
            Range<double>{"> 0 and < 1", [](double v) { return v > 0 && v < 1; }},
            {.description = "what a plateau multiplies the learning rate by", .applies = reduce});
  table.add(prefix + ".patience", plateau.patience, at_least<int64_t>(0),
            {.description = "so many metrics in a row may be no better than the best",
             .applies = reduce});
  table.add(prefix + ".min_lr", plateau.min_lr, at_least(0.0),
            {.description = "lowest learning rate, at lr.base_batch", .applies = reduce});
}

void declare_change(OptionTable& table, const std::string& prefix, PlateauOptions& plateau) {
  const AppliesTo change = {prefix + ".kind", {"plateau_change"}};
  table.add_rows(prefix + ".levels", plateau.levels, declare_level,
                 {.description = "policies to choose from, the one with the highest learning rate "
                                 "first",
                  .applies = change});
  table.add(prefix + ".first", plateau.first, at_least<int64_t>(0),
            {.description = "number of the level that training starts with; 0 is the highest",
             .required = true,
             .applies = change});
  table.add(
      prefix + ".window", plateau.window, between<int64_t>(2, 1'000'000),
      {.description = "so many metrics are compared, each with its neighbour", .applies = change});
  table.add(prefix + ".up_before", plateau.up_before, between(0.0, 1.0),
            {.description = "part of training before which a plateau leads to a higher level",
             .applies = change});
}

}  // namespace

void declare_plateau(OptionTable& table, const std::string& prefix, PlateauOptions& plateau) {
  const AppliesTo both = {prefix + ".kind", {"plateau_change", "plateau_reduce"}};
  table.add(
      prefix + ".every", plateau.every, longer_than_nothing(),
      {.description = "how often the metric is looked at, and the validation set gone through "
                      "for it, whatever train.eval_every is",
       .applies = both});
  table.add_choice<PlateauMetric>(prefix + ".metric", plateau.metric,
                                  {{"val_loss", PlateauMetric::kValLoss},
                                   {"val_top1", PlateauMetric::kValTop1},
                                   {"train_loss", PlateauMetric::kTrainLoss}},
                                  {.description = "what should improve; train_loss: the mean over "
                                                  "the steps since the last look",
                                   .applies = both});
  table.add(prefix + ".threshold", plateau.threshold, at_least(0.0),
            {.description = "least improvement that counts: plateau_change, absolute, omitted: "
                            "0.05; plateau_reduce, part of the best, omitted: 1e-4",
             .applies = both});
  table.add(prefix + ".cooldown", plateau.cooldown, at_least<int64_t>(0),
            {.description = "metrics after a plateau that lead to no other; omitted: 5, of "
                            "plateau_reduce 0",
             .applies = both});
  declare_reduce(table, prefix, plateau);
  declare_change(table, prefix, plateau);
}

void check_levels(const std::string& prefix, const PlateauOptions& plateau,
                  const std::optional<double>& base, std::vector<OptionProblem>& problems) {
  constexpr size_t kFewest = 2;
  const auto top = [&](int64_t i) {
    const PolicyPiece& level = plateau.levels[static_cast<size_t>(i)];
    return top_of(level.policy, level.base.value_or(base.value_or(0)));
  };
  const auto count = static_cast<int64_t>(plateau.levels.size());
  if (plateau.levels.size() < kFewest) {
    problems.push_back({prefix + ".levels", concat("policy plateau_change chooses among two levels "
                                                   "or more, here ",
                                                   count == 0 ? "there is none" : "is one")});
  } else if (plateau.first >= count) {
    problems.push_back(
        {prefix + ".first", concat(plateau.first, " is no level; legal: 0 to ", count - 1)});
  }
  for (int64_t i = 0; i < count; ++i) {
    const PolicyPiece& level = plateau.levels[static_cast<size_t>(i)];
    const std::string key = concat(prefix, ".levels.", i);
    if (i > 0 && top(i) > top(i - 1)) {
      problems.push_back(
          {key, concat("starts from ", top(i), ", above the ", top(i - 1),
                       " of the level before it; legal: from the highest to the lowest")});
    }
    if (level.base && !uses_base(level.policy) && !lacks_parts(level.policy)) {
      problems.push_back({key + ".base", "no policy of this level starts from it"});
    }
    check_policy(key + ".policy", level.policy, problems);
  }
}

}  // namespace largo::optim
