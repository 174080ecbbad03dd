// Learning-rate policies that go up and down between two levels: the cyclic families of LRBench,
// and cosine with restarts.
#pragma once

#include <cstdint>

#include "trainer/optim/lr_policy.h"

namespace largo::optim {

// A(t) in [0, 1] with half period l. The sawtooth ones fall from 1 to 0 within each l; at 0, l,
// 2l, ... themselves they are 0, as LRBench has it.
enum class Wave {
  kTriangular,      // [TRI] 0 at t = 0, 1 at l
  kTriangularDown,  // [DTRI] 1 at t = 0, 0 at l
  kSine,            // [SIN] |sin(pi t / 2l)|
  kSineDown,        // [DSIN] |cos(pi t / 2l)|
  kCosine,          // [COS] (1 + cos(pi t / l)) / 2
  kCosineUp,        // [UPCOS] (1 - cos(pi t / l)) / 2
  kSawtooth,        // [RSW] s
  kSineSawtooth,    // [SINRSW] sin(pi s / 2)
  kCosineSawtooth,  // [COSRSW] (1 - cos(pi s)) / 2
};

// What the amplitude is multiplied by: 1; half after every period, in the valley; gamma^t.
enum class Envelope { kNone, kHalving, kExponential };  // LRBench's endings: none, 2, EXP

struct Cycle {
  Wave wave = Wave::kTriangular;
  Envelope envelope = Envelope::kNone;
  double k0 = 0;         // the floor: only k1 - k0 shrinks
  double k1 = 0;         // the top
  double length = 0;     // l > 0
  double gamma = 1;      // exponential envelope: factor per gamma_per, in (0, 1]
  double gamma_per = 1;  // steps > 0
};
Policy cycle_policy(const Cycle& cycle);

// Half cosine waves from start to end, the first of `length` updates, each t_mult times as long as
// the one before it; `start` again at each restart. (SGDR, Loshchilov and Hutter 2017)
Policy cosine_restarts_policy(double start, double end, double length, int64_t t_mult);

}  // namespace largo::optim
