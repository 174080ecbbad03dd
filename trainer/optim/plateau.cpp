#include "trainer/optim/plateau.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

using nlohmann::json;

// What decides, fed one metric after another.
class Rule {
 public:
  virtual ~Rule() = default;
  virtual void decide(double metric, double progress) = 0;
  virtual double lr(double step) const = 0;  // after the warm-up
  virtual double warmup_lr(double step) const = 0;
  virtual json state() const = 0;
  virtual void restore(const json& state) = 0;  // throws for what it could not have said
};

class Reduce final : public Rule {
 public:
  Reduce(const PlateauOptions& options, LrSchedule schedule)
      : options_(options),
        schedule_(std::move(schedule)),
        min_lr_(options.min_lr * schedule_.factor()),
        lr_(schedule_.peak()) {}

  void decide(double metric, double /*progress*/) override {
    if (is_better(metric)) {
      best_ = metric;
      worse_ = 0;
    } else {
      ++worse_;
    }
    if (cooldown_ > 0) {
      --cooldown_;
      worse_ = 0;
    }
    if (worse_ <= options_.patience) return;
    constexpr double kLeastChange = 1e-8;
    const double lower = std::max(lr_ * options_.factor, min_lr_);
    if (lr_ - lower > kLeastChange) lr_ = lower;
    cooldown_ = options_.cooldown.value_or(0);
    worse_ = 0;
  }

  double lr(double /*step*/) const override { return lr_; }
  double warmup_lr(double step) const override { return schedule_.lr(step); }

  json state() const override {
    return {{"lr", lr_},
            {"best", best_ ? json(*best_) : json()},
            {"worse", worse_},
            {"cooldown", cooldown_}};
  }

  void restore(const json& state) override {
    state.at("lr").get_to(lr_);
    best_.reset();
    if (const json& best = state.at("best"); !best.is_null()) best_ = best.get<double>();
    state.at("worse").get_to(worse_);
    state.at("cooldown").get_to(cooldown_);
    if (!(lr_ >= 0) || !std::isfinite(lr_) || worse_ < 0 || cooldown_ < 0) {
      fail(ExitCode::kBadData, "LR ", lr_, ", worse ", worse_, " and cooldown ", cooldown_,
           " are none of its");
    }
  }

 private:
  bool is_better(double metric) const {
    if (!best_) return true;
    const double threshold = options_.threshold.value_or(1e-4);
    return options_.metric == PlateauMetric::kValTop1 ? metric > *best_ * (1 + threshold)
                                                      : metric < *best_ * (1 - threshold);
  }

  const PlateauOptions options_;
  const LrSchedule schedule_;
  const double min_lr_;
  double lr_;
  std::optional<double> best_;
  int64_t worse_ = 0;  // in a row
  int64_t cooldown_ = 0;
};

class Change final : public Rule {
 public:
  Change(const PlateauOptions& options, std::vector<LrSchedule> levels)
      : options_(options), levels_(std::move(levels)), index_(options.first) {}

  void decide(double metric, double progress) override {
    metrics_.push_back(metric);
    if (cooldown_ > 0) {
      --cooldown_;
    } else if (static_cast<int64_t>(metrics_.size()) > options_.window && is_plateau()) {
      cooldown_ = options_.cooldown.value_or(5);
      index_ += progress < options_.up_before ? -1 : 1;
      index_ = std::clamp<int64_t>(index_, 0, static_cast<int64_t>(levels_.size()) - 1);
    }
    // One more than are compared, to know that there were more.
    const size_t kept = static_cast<size_t>(options_.window) + 1;
    if (metrics_.size() > kept) metrics_.erase(metrics_.begin());
  }

  double lr(double step) const override { return levels_[static_cast<size_t>(index_)].lr(step); }
  double warmup_lr(double step) const override {
    return levels_[static_cast<size_t>(options_.first)].lr(step);
  }

  json state() const override {
    return {{"level", index_}, {"metrics", metrics_}, {"cooldown", cooldown_}};
  }

  void restore(const json& state) override {
    state.at("level").get_to(index_);
    state.at("metrics").get_to(metrics_);
    state.at("cooldown").get_to(cooldown_);
    if (index_ < 0 || index_ >= static_cast<int64_t>(levels_.size()) || cooldown_ < 0) {
      fail(ExitCode::kBadData, "level ", index_, " of ", levels_.size(), " and cooldown ",
           cooldown_, " are none of its");
    }
  }

 private:
  // Of the last `window` metrics, none improves on the one before it by the threshold.
  bool is_plateau() const {
    const double up = options_.metric == PlateauMetric::kValTop1 ? 1 : -1;
    const double threshold = options_.threshold.value_or(0.05);
    const auto first = metrics_.end() - options_.window;
    return std::adjacent_find(first, metrics_.end(), [&](double before, double after) {
             return up * (after - before) >= threshold;
           }) == metrics_.end();
  }

  const PlateauOptions options_;
  const std::vector<LrSchedule> levels_;
  int64_t index_;  // of the level; 0 is the highest
  std::vector<double> metrics_;
  int64_t cooldown_ = 0;
};

const char* metric_word(PlateauMetric metric) {
  switch (metric) {
    case PlateauMetric::kValLoss:
      return "val_loss";
    case PlateauMetric::kValTop1:
      return "val_top1";
    case PlateauMetric::kTrainLoss:
      break;
  }
  return "train_loss";
}

class PlateauController final : public LrController {
 public:
  PlateauController(const LrOptions& options, const ScheduleInputs& inputs)
      : kind_(word_of(options.policy.kind)),
        metric_(options.policy.plateau.metric),
        total_steps_(inputs.total_steps),
        every_(static_cast<int64_t>(inputs.steps_of(options.policy.plateau.every))) {
    LARGO_CHECK(every_ > 0, "a plateau policy that looks every ", every_, " steps");
    std::vector<LrSchedule> levels = plateau_levels(options, inputs);
    warmup_steps_ = levels.front().warmup_steps();
    if (options.policy.kind == PolicyKind::kPlateauReduce) {
      rule_ = std::make_unique<Reduce>(options.policy.plateau, std::move(levels.front()));
    } else {
      rule_ = std::make_unique<Change>(options.policy.plateau, std::move(levels));
    }
  }

  double lr(int64_t step) const override {
    const auto at = static_cast<double>(step);
    return at < warmup_steps_ ? rule_->warmup_lr(at) : rule_->lr(at);
  }

  void observe(const StepNumbers& numbers) override {
    if (metric_ != PlateauMetric::kTrainLoss || numbers.step <= observed_) return;
    observed_ = numbers.step;
    loss_sum_ += numbers.loss_sum;
    samples_ += numbers.samples;
    if (!is_due(numbers.step)) return;
    // Steps that were left out count for nothing (train.on_nonfinite: skip).
    if (decides(numbers.step) && samples_ > 0) {
      decide(numbers.step, loss_sum_ / static_cast<double>(samples_));
    }
    loss_sum_ = 0;
    samples_ = 0;
  }

  void observe_evaluation(const EvaluationNumbers& numbers) override {
    if (!wants_evaluation(numbers.step) || numbers.step <= observed_) return;
    observed_ = numbers.step;
    decide(numbers.step, metric_ == PlateauMetric::kValTop1 ? numbers.top1 : numbers.loss);
  }

  bool wants_evaluation(int64_t completed) const override {
    return metric_ != PlateauMetric::kTrainLoss && decides(completed);
  }

  bool wants_losses(int64_t completed, bool checkpoint_follows) const override {
    return metric_ == PlateauMetric::kTrainLoss && (checkpoint_follows || is_due(completed));
  }

  bool done(int64_t completed_steps) const override { return completed_steps >= total_steps_; }

  std::string state() const override {
    const json all = {{"kind", kind_},
                      {"rule", rule_->state()},
                      {"observed", observed_},
                      {"loss_sum", loss_sum_},
                      {"samples", samples_}};
    return all.dump();  // as many digits as it takes to read the same bits
  }

  void restore(std::string_view state) override {
    if (state.empty()) {
      fail(ExitCode::kBadData, "the checkpoint is of a run with a fixed schedule; it has no state ",
           "of lr.policy ", kind_, " to continue from");
    }
    try {
      const json all = json::parse(state);
      if (all.at("kind") != kind_) fail(ExitCode::kBadData, "its kind is ", all["kind"].dump());
      rule_->restore(all.at("rule"));
      all.at("observed").get_to(observed_);
      all.at("loss_sum").get_to(loss_sum_);
      all.at("samples").get_to(samples_);
    } catch (const std::exception& error) {
      fail(ExitCode::kBadData, "the checkpoint's state of the learning rate is not that of ", kind_,
           ": ", error.what());
    }
  }

 private:
  bool is_due(int64_t completed) const { return completed > 0 && completed % every_ == 0; }

  bool decides(int64_t completed) const {
    return is_due(completed) && static_cast<double>(completed) >= warmup_steps_;
  }

  void decide(int64_t completed, double metric) {
    if (!std::isfinite(metric)) {
      throw AgreedError(ExitCode::kNumerical,
                        concat("at step ", completed, " the ", metric_word(metric_), " is ", metric,
                               ", by which lr.policy ", kind_,
                               " cannot decide; a lower lr.base or a longer warm-up may help"));
    }
    rule_->decide(metric, static_cast<double>(completed) / static_cast<double>(total_steps_));
  }

  std::string kind_;
  PlateauMetric metric_;
  int64_t total_steps_;
  int64_t every_;
  double warmup_steps_ = 0;
  std::unique_ptr<Rule> rule_;
  int64_t observed_ = 0;  // step of the last numbers, none of which counts twice
  double loss_sum_ = 0;   // of the steps since the last decision
  int64_t samples_ = 0;
};

}  // namespace

std::vector<LrSchedule> plateau_levels(const LrOptions& options, const ScheduleInputs& inputs) {
  std::vector<LrSchedule> levels;
  LrOptions of_level = options;
  PlateauOptions& plateau = of_level.policy.plateau;
  const bool change = options.policy.kind == PolicyKind::kPlateauChange;
  const size_t count = change ? plateau.levels.size() : 1;
  levels.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    if (change) plateau.first = static_cast<int64_t>(i);
    levels.push_back(make_schedule(of_level, inputs));
  }
  return levels;
}

std::unique_ptr<LrController> make_plateau_controller(const LrOptions& options,
                                                      const ScheduleInputs& inputs) {
  return std::make_unique<PlateauController>(options, inputs);
}

}  // namespace largo::optim
