// The kinds of policies and their names.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "trainer/optim/lr_cycles.h"

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
  kPiecewise,
  kProduct,
  kPlateauReduce,  // these two follow training: plateau.h
  kPlateauChange,
  kTriangular,
};
inline constexpr int kWaves = 9;
inline constexpr int kEnvelopes = 3;

PolicyKind cycle_kind(Wave wave, Envelope envelope);
bool is_cycle(PolicyKind kind);
bool is_plateau(PolicyKind kind);
Wave wave_of(PolicyKind cycle);
Envelope envelope_of(PolicyKind cycle);

// "triangular_halving": what a configuration calls it.
std::string word_of(PolicyKind kind);

// Every word with its kind, and the other names that are read, LRBench's ("TRI2") among them.
using PolicyWords = std::vector<std::pair<std::string, PolicyKind>>;
PolicyWords policy_words();
PolicyWords policy_aliases();

}  // namespace largo::optim
