// Options of a policy, the shape of the learning rate over time: lr.policy.*. Momentum and weight
// decay are scheduled by the same options under another prefix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"
#include "trainer/optim/lr_policy.h"
#include "trainer/optim/policy_kind.h"

namespace largo::optim {

struct PolicyPiece;

enum class PlateauMetric { kValLoss, kValTop1, kTrainLoss };

// Of plateau_reduce and plateau_change, whose rules are plateau.h's. What is empty has its kind's
// default.
struct PlateauOptions {
  Duration every = {1, Duration::Unit::kEpochs};
  PlateauMetric metric = PlateauMetric::kValLoss;
  std::optional<double> threshold;  // reduce: 1e-4, change: 0.05
  std::optional<int64_t> cooldown;  // reduce: 0, change: 5; in metrics
  double factor = 0.1;              // reduce
  int64_t patience = 10;            // reduce
  double min_lr = 0;                // reduce
  std::vector<PolicyPiece> levels;  // change
  int64_t first = 0;                // change: index of levels
  int64_t window = 5;               // change
  double up_before = 0.8;           // change: part of training
};

// Formulas: lr_policy.h, lr_cycles.h. Every LR is stated at base_batch; an omitted length is the
// rest of training.
struct PolicyOptions {
  PolicyKind kind = PolicyKind::kConstant;
  std::optional<Duration> length;         // l: see the table
  std::vector<Duration> milestones;       // multistep
  double gamma = 0.1;                     // step, multistep, exponential, inverse, sigmoid, cycles
  Duration gamma_per = {1};               // what gamma counts in: inverse, sigmoid, cycles
  double power = 1;                       // polynomial, inverse
  double end = 0;                         // polynomial, cosine, sigmoid_decay, trapezoid, restarts
  double k0 = 0;                          // cycles: floor
  double k1 = 1;                          // cycles: top
  int64_t t_mult = 1;                     // cosine_restarts
  std::optional<double> pct_start;        // one cycle: 0.25 (fastai), 0.3 (PyTorch)
  double div = 25;                        // one cycle
  std::optional<double> div_final;        // one cycle: 1e5 (fastai), 1e4 (PyTorch)
  bool three_phase = false;               // one_cycle_torch
  Anneal anneal = Anneal::kCosine;        // one_cycle_torch
  double start = 0;                       // trapezoid
  Duration up, down;                      // trapezoid
  std::optional<Duration> flat;           // trapezoid
  int64_t cycles = 1;                     // trapezoid, sigmoid_decay
  double kappa = 10;                      // sigmoid_decay
  std::optional<Duration> timescale;      // inverse_sqrt: the warm-up's length
  std::optional<Duration> stable, decay;  // warmup_stable_decay
  Anneal decay_type = Anneal::kLinear;    // warmup_stable_decay
  double min_ratio = 0;                   // warmup_stable_decay
  std::vector<PolicyPiece> pieces;        // piecewise
  std::vector<PolicyPiece> factors;       // product: policies only
  PlateauOptions plateau;
};

// Part of a piecewise policy, whose own time starts where it does; a level of plateau_change; or a
// factor of a product, with a policy that starts from 1.
struct PolicyPiece {
  std::optional<Duration> until;  // on the clock of the list; the last piece has none
  std::optional<double> base;     // empty: that of the list
  PolicyOptions policy;
};

// Whether the policy starts from the base beside it: not the cycles, nor a list of policies that
// all have levels of their own.
bool uses_base(const PolicyOptions& policy);

// Whether a list of policies with levels in it is empty: check_policy's or check_levels' problem,
// which leaves open what it starts from.
bool lacks_parts(const PolicyOptions& policy);

// The highest of what it and its pieces start from or, the cycles, rise to.
double top_of(const PolicyOptions& policy, double base);

// What the base beside the policy `prefix` belongs to (lr.base beside lr.policy): every kind but
// the cycles, which have k0 and k1.
AppliesTo policies_with_base(const std::string& prefix);

// Whether a policy may follow training: that of the learning rate itself only.
enum class PolicyUse { kFixed, kMayFollowTraining };

// The keys are <prefix>.kind, <prefix>.length, ...
void declare_policy(OptionTable& table, const std::string& prefix, PolicyOptions& policy,
                    PolicyUse use = PolicyUse::kFixed);
void check_policy(const std::string& prefix, const PolicyOptions& policy,
                  std::vector<OptionProblem>& problems);

// The keys of plateau_reduce and plateau_change, and what check_policy leaves to the owner of the
// base.
void declare_plateau(OptionTable& table, const std::string& prefix, PlateauOptions& plateau);
void check_levels(const std::string& prefix, const PlateauOptions& plateau,
                  const std::optional<double>& base, std::vector<OptionProblem>& problems);

}  // namespace largo::optim
