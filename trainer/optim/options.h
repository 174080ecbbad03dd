// Options of the optimizer and the learning-rate schedule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"
#include "trainer/optim/optimizer_options.h"
#include "trainer/optim/policy_options.h"

namespace largo::optim {

enum class ScalingRule { kNone, kLinear, kSqrt, kLegw, kAdamSqrt, kAdaScale };  // scaling.h
enum class WarmupKind { kNone, kConstant, kGradual, kExponential, kSigmoid };
enum class PolicyClock { kByPolicy, kGlobal, kAfterWarmup };

// Where a warm-up starts: the unscaled base LR, zero, or a number stated at base_batch.
struct WarmupStart {
  enum class Kind { kBase, kZero, kNumber };
  Kind kind = Kind::kBase;
  double number = 0;

  friend bool operator==(const WarmupStart&, const WarmupStart&) = default;
};

struct WarmupOptions {
  WarmupKind kind = WarmupKind::kNone;
  std::optional<Duration> length;
  WarmupStart start;
  double kappa = 10;  // sigmoid
};

// Every LR here is stated at base_batch and multiplied by the scaling rule's factor.
struct LrOptions {
  std::optional<double> base;  // the cyclic policies have k0 and k1 instead
  std::optional<int64_t> base_batch;
  ScalingRule scaling = ScalingRule::kLinear;
  WarmupOptions warmup;
  PolicyOptions policy;
  PolicyClock policy_clock = PolicyClock::kByPolicy;
};

void declare_options(OptionTable& table, LrOptions& options);  // lr.*

std::vector<OptionProblem> check(const LrOptions& options);

// lr.scaling where it is not given; nothing for optimizers that have no usual rule.
std::optional<ScalingRule> default_scaling(const OptimizerOptions& optimizer);

}  // namespace largo::optim

namespace largo {

template <>
struct OptionCodec<optim::WarmupStart> {
  static constexpr const char* kType = "base, zero or a number";
  static optim::WarmupStart parse(std::string_view text);
  static std::string print(const optim::WarmupStart& value);
};

}  // namespace largo
