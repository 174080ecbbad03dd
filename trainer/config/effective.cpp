#include "trainer/config/effective.h"

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>

#include "comm/base/error.h"
#include "trainer/config/key_tree.h"
#include "trainer/optim/scaling.h"

namespace largo::config {

namespace {

// A learning rate, which the file states at lr.base_batch.
bool is_learning_rate(const std::string& key) {
  if (key == "lr.base" || key == "lr.warmup.start") return true;
  constexpr std::array<const char*, 6> kNames = {"base", "k0", "k1", "start", "end", "min_lr"};
  if (!key.starts_with("lr.policy.")) return false;
  if (key.find(".factors.") != std::string::npos) return false;  // parts of the base
  return std::find(kNames.begin(), kNames.end(), last_name(key)) != kNames.end();
}

std::optional<double> number(const std::string& text) {
  try {
    return OptionCodec<double>::parse(text);
  } catch (const std::invalid_argument&) {  // lr.warmup.start may be a word
    return std::nullopt;
  }
}

std::string scaled_lr(const optim::LrOptions& lr, int64_t batch, const std::string& text) {
  const std::optional<double> value = number(text);
  if (!value || *value == 0) return {};
  if (lr.scaling == optim::ScalingRule::kAdaScale) {
    return concat("× a gain of 1 to ", optim::batch_factor(lr, batch), " at batch ", batch);
  }
  const double factor = optim::lr_factor(lr, batch);
  return concat("× ", factor, " = ", *value * factor, " at batch ", batch);
}

std::optional<int64_t> global_batch(const BatchOptions& batch, std::optional<int64_t> ranks) {
  if (batch.global) return batch.global;
  if (batch.per_rank && ranks) return *batch.per_rank * *ranks;
  return std::nullopt;
}

}  // namespace

std::string effective_words(const RunConfig& config, const Option& option,
                            std::optional<int64_t> ranks) {
  const optim::LrOptions& lr = config.lr;
  const std::optional<std::string> text = option.text();
  const std::optional<int64_t> of_step = global_batch(config.batch, ranks);
  if (!of_step || lr.scaling == optim::ScalingRule::kNone || !text) return {};
  const int64_t batch = *of_step;
  if (!optim::check_scaling(lr, config.optimizer, batch).empty()) return {};
  if (is_learning_rate(option.key)) return scaled_lr(lr, batch, *text);
  if (option.key == "lr.warmup.length" && lr.scaling == optim::ScalingRule::kLegw) {
    return concat("= ", OptionCodec<Duration>::print(optim::scaled_warmup(lr, batch)), " at batch ",
                  batch);
  }
  if (lr.scaling != optim::ScalingRule::kAdamSqrt) return {};
  const optim::OptimizerOptions scaled = optim::scaled_for_batch(config.optimizer, lr, batch);
  if (option.key == "optimizer.betas") {
    return concat("= [", scaled.betas.at(0), ", ", scaled.betas.at(1), "] at batch ", batch);
  }
  if (option.key == "optimizer.epsilon") return concat("= ", *scaled.epsilon, " at batch ", batch);
  if (option.key == "optimizer.alpha") return concat("= ", scaled.alpha, " at batch ", batch);
  return {};
}

}  // namespace largo::config
