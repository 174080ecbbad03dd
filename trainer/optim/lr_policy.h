// Learning-rate policies: pure functions of time. Those that go up and down: lr_cycles.h.
#pragma once

#include <functional>
#include <vector>

namespace largo::optim {

// The learning rate after t updates of the policy's clock; any real t >= 0. Never NaN.
using Policy = std::function<double(double t)>;

// Lengths are in steps and > 0. `start` is the learning rate at t = 0. In brackets: the name in
// LRBench (Wu et al. 2019, "Demystifying Learning Rate Policies"), whose formulas these are.

Policy constant_policy(double start);                                         // [FIX]
Policy step_policy(double start, double gamma, double length);                // gamma^floor(t / l)
Policy multistep_policy(double start, double gamma, std::vector<double> at);  // gamma^|{at <= t}|

// start * gamma^(t / length): [EXP] is the one of length 1.
Policy exponential_policy(double start, double gamma, double length);

// start * (1 + gamma t)^-power, gamma >= 0. [INV]
Policy inverse_policy(double start, double gamma, double power);

// (start - end) (1 - t / length)^power + end; `end` is held afterwards. [POLY]
Policy polynomial_policy(double start, double end, double power, double length);

// top / (1 + exp(-gamma (t - middle))): rises where gamma > 0, falls where gamma < 0. [SIG]
Policy sigmoid_policy(double top, double gamma, double middle);

// end + (start - end) (1 + cos(pi t / length)) / 2, half a wave; `end` is held afterwards.
Policy cosine_policy(double start, double end, double length);

// start / sqrt(1 + t / timescale): after a warm-up of `timescale` steps, that of Transformers.
Policy inverse_sqrt_policy(double start, double timescale);

// low + (top - low) / (1 + exp(kappa (2 x - 1))), where x goes `cycles` times from 0 to 1 within
// `length` and stays at 1 afterwards.
Policy sigmoid_decay_policy(double top, double low, double kappa, double length, double cycles);

// From x = 0 to x = 1, of the way from one learning rate to the other.
enum class Anneal { kLinear, kCosine, kOneMinusSqrt };

// `start` for `stable` steps, then within `decay` steps to start * min_ratio, which is held.
// Stable and decay may be 0.
Policy stable_decay_policy(double start, double min_ratio, double stable, double decay,
                           Anneal anneal);

// Straight from start to peak in `up` steps, flat, straight to end in `down`; `cycles` times, each
// from `start` again; `end` is held afterwards. up, flat and down may be 0, but not all of them.
struct Trapezoid {
  double start = 0;
  double peak = 0;
  double end = 0;
  double up = 0;
  double flat = 0;
  double down = 0;
  double cycles = 1;
};
Policy trapezoid_policy(const Trapezoid& shape);

// Through levels[0], levels[1] at t = at[0], levels[2] at at[1], ...: the last is held. `at` is
// one shorter than levels. As in PyTorch's OneCycleLR a stretch that ends before it begins is left
// out, and the next one goes on from that end, be it before t = 0.
Policy phases_policy(std::vector<double> levels, std::vector<double> at, Anneal anneal);

// The times of phases_policy for one cycle over `total` updates, for LR and momentum alike.
// fastai: the peak after the part pct_start, the end at `total`.
std::vector<double> one_cycle_times(double pct_start, double total);
// PyTorch's OneCycleLR: steps pct_start * total - 1, (back at the start: 2 pct_start * total - 2,)
// total - 1, which is its last legal step.
std::vector<double> one_cycle_torch_times(double pct_start, double total, bool three_phase);

// Piece i runs from at[i - 1] until before at[i], each from its own t = 0; one piece more than
// boundaries, which increase strictly.
Policy piecewise_policy(std::vector<double> at, std::vector<Policy> pieces);

// start * factors[0](t) * factors[1](t) * ...
Policy product_policy(double start, std::vector<Policy> factors);

// floor(t / length) that does not lose a whole multiple to the rounding of the division.
double completed_lengths(double t, double length);

}  // namespace largo::optim
