// Options of a policy, the shape of the learning rate over time: lr.policy.*. Momentum and weight
// decay are scheduled by the same options under another prefix.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/option_table.h"
#include "trainer/base/duration.h"
#include "trainer/optim/lr_cycles.h"
#include "trainer/optim/lr_policy.h"

namespace largo::optim {

// Those from kTriangular on are the cycles: nine waves in Wave's order, each with the three
// envelopes in Envelope's.
enum class PolicyKind {
  kConstant,
  kStep,
  kMultistep,
  kExponential,
  kInverse,
  kPolynomial,
  kSigmoid,
  kSigmoidDecay,
  kCosine,
  kCosineRestarts,
  kOneCycle,
  kOneCycleTorch,
  kTrapezoid,
  kInverseSqrt,
  kWarmupStableDecay,
  kTriangular,
};
inline constexpr int kWaves = 9;
inline constexpr int kEnvelopes = 3;

PolicyKind cycle_kind(Wave wave, Envelope envelope);
bool is_cycle(PolicyKind kind);
Wave wave_of(PolicyKind cycle);
Envelope envelope_of(PolicyKind cycle);

// "triangular_halving": what a configuration calls it.
std::string word_of(PolicyKind kind);

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
};

// What the base beside the policy `prefix` belongs to (lr.base beside lr.policy): every kind but
// the cycles, which have k0 and k1.
AppliesTo policies_with_base(const std::string& prefix);

// The keys are <prefix>.kind, <prefix>.length, ...
void declare_policy(OptionTable& table, const std::string& prefix, PolicyOptions& policy);
void check_policy(const std::string& prefix, const PolicyOptions& policy,
                  std::vector<OptionProblem>& problems);

}  // namespace largo::optim
