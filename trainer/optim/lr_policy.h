// Learning-rate policies: pure functions of time.
#pragma once

#include <functional>
#include <vector>

namespace largo::optim {

// The learning rate after t updates of the policy's clock; any real t >= 0.
using Policy = std::function<double(double t)>;

// Lengths are in steps and > 0. `start` is the learning rate at t = 0. In brackets: the name in
// LRBench (Wu et al. 2019, "Demystifying Learning Rate Policies"), whose formulas these are.

Policy constant_policy(double start);                                         // [FIX]
Policy step_policy(double start, double gamma, double length);                // gamma^floor(t / l)
Policy multistep_policy(double start, double gamma, std::vector<double> at);  // gamma^|{at <= t}|

// start * gamma^(t / length): [EXP] is the one of length 1.
Policy exponential_policy(double start, double gamma, double length);

// (start - end) (1 - t / length)^power + end; `end` is held afterwards. [POLY]
Policy polynomial_policy(double start, double end, double power, double length);

// end + (start - end) (1 + cos(pi t / length)) / 2, half a wave; `end` is held afterwards.
Policy cosine_policy(double start, double end, double length);

}  // namespace largo::optim
