#include "trainer/optim/policy_kind.h"

#include <algorithm>
#include <array>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

using enum PolicyKind;

struct Name {
  PolicyKind kind;
  const char* word;
  const char* alias;  // LRBench's or another usual name; nullptr: none
};

constexpr std::array<Name, 19> kNames = {{
    {kConstant, "constant", "FIX"},
    {kStep, "step", "STEP"},
    {kMultistep, "multistep", "NSTEP"},
    {kExponential, "exponential", "EXP"},
    {kInverse, "inverse", "INV"},
    {kPolynomial, "polynomial", "POLY"},
    {kSigmoid, "sigmoid", "SIG"},
    {kSigmoidDecay, "sigmoid_decay", nullptr},
    {kCosine, "cosine", nullptr},
    {kCosineRestarts, "cosine_restarts", "SGDR"},
    {kOneCycle, "one_cycle", nullptr},
    {kOneCycleTorch, "one_cycle_torch", nullptr},
    {kTrapezoid, "trapezoid", nullptr},
    {kInverseSqrt, "inverse_sqrt", nullptr},
    {kWarmupStableDecay, "warmup_stable_decay", "WSD"},
    {kPiecewise, "piecewise", nullptr},
    {kProduct, "product", nullptr},
    {kPlateauReduce, "plateau_reduce", nullptr},
    {kPlateauChange, "plateau_change", nullptr},
}};

constexpr std::array<std::pair<const char*, const char*>, kWaves> kWaveNames = {{
    {"triangular", "TRI"},
    {"triangular_down", "DTRI"},
    {"sine", "SIN"},
    {"sine_down", "DSIN"},
    {"cosine_wave", "COS"},
    {"cosine_wave_up", "UPCOS"},
    {"sawtooth", "RSW"},
    {"sine_sawtooth", "SINRSW"},
    {"cosine_sawtooth", "COSRSW"},
}};
constexpr std::array<std::pair<const char*, const char*>, kEnvelopes> kEnvelopeNames = {
    {{"", ""}, {"_halving", "2"}, {"_exponential", "EXP"}}};

// Calls take(wave and envelope, the two names) for every cycle.
template <class Take>
void for_cycles(const Take& take) {
  for (int wave = 0; wave < kWaves; ++wave) {
    for (int envelope = 0; envelope < kEnvelopes; ++envelope) {
      const auto& [word, alias] = kWaveNames[static_cast<size_t>(wave)];
      const auto& [ending, alias_ending] = kEnvelopeNames[static_cast<size_t>(envelope)];
      take(cycle_kind(static_cast<Wave>(wave), static_cast<Envelope>(envelope)),
           concat(word, ending), concat(alias, alias_ending));
    }
  }
}

}  // namespace

PolicyKind cycle_kind(Wave wave, Envelope envelope) {
  return static_cast<PolicyKind>(static_cast<int>(kTriangular) +
                                 kEnvelopes * static_cast<int>(wave) + static_cast<int>(envelope));
}
bool is_cycle(PolicyKind kind) { return kind >= kTriangular; }
bool is_plateau(PolicyKind kind) { return kind == kPlateauReduce || kind == kPlateauChange; }
Wave wave_of(PolicyKind cycle) {
  return static_cast<Wave>((static_cast<int>(cycle) - static_cast<int>(kTriangular)) / kEnvelopes);
}
Envelope envelope_of(PolicyKind cycle) {
  return static_cast<Envelope>((static_cast<int>(cycle) - static_cast<int>(kTriangular)) %
                               kEnvelopes);
}

PolicyWords policy_words() {
  PolicyWords words;
  words.reserve(kNames.size() + size_t{kWaves} * kEnvelopes);
  for (const Name& name : kNames) words.emplace_back(name.word, name.kind);
  for_cycles([&](PolicyKind kind, const std::string& word, const std::string&) {
    words.emplace_back(word, kind);
  });
  return words;
}

PolicyWords policy_aliases() {
  PolicyWords aliases;
  for (const Name& name : kNames) {
    if (name.alias != nullptr) aliases.emplace_back(name.alias, name.kind);
  }
  aliases.emplace_back("linear", kPolynomial);  // what its power is where none is given
  for_cycles([&](PolicyKind kind, const std::string&, const std::string& alias) {
    aliases.emplace_back(alias, kind);
  });
  return aliases;
}

std::string word_of(PolicyKind kind) {
  const PolicyWords words = policy_words();
  return std::find_if(words.begin(), words.end(), [&](const auto& w) { return w.second == kind; })
      ->first;
}

}  // namespace largo::optim
