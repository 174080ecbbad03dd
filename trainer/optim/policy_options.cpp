#include "trainer/optim/policy_options.h"

#include <array>
#include <utility>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

using enum PolicyKind;

struct Name {
  PolicyKind kind;
  const char* word;
  const char* alias;  // LRBench's or another usual name; nullptr: none
};

constexpr std::array<Name, 15> kNames = {{
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

using Words = std::vector<std::pair<std::string, PolicyKind>>;

// Readable words, and their aliases.
std::pair<Words, Words> kind_words() {
  Words words;
  Words aliases;
  for (const Name& name : kNames) {
    words.emplace_back(name.word, name.kind);
    if (name.alias != nullptr) aliases.emplace_back(name.alias, name.kind);
  }
  for (int wave = 0; wave < kWaves; ++wave) {
    for (int envelope = 0; envelope < kEnvelopes; ++envelope) {
      const PolicyKind kind = cycle_kind(static_cast<Wave>(wave), static_cast<Envelope>(envelope));
      const auto& [word, alias] = kWaveNames[static_cast<size_t>(wave)];
      const auto& [ending, alias_ending] = kEnvelopeNames[static_cast<size_t>(envelope)];
      words.emplace_back(std::string(word) + ending, kind);
      aliases.emplace_back(std::string(alias) + alias_ending, kind);
    }
  }
  return {words, aliases};
}

template <class Holds>
std::vector<std::string> words_where(Holds holds) {
  std::vector<std::string> words;
  for (const auto& [word, kind] : kind_words().first) {
    if (holds(kind)) words.push_back(word);
  }
  return words;
}

std::vector<std::string> cycles_with(Envelope envelope) {
  return words_where([&](PolicyKind k) { return is_cycle(k) && envelope_of(k) == envelope; });
}

std::vector<std::string> joined(std::vector<std::string> some,
                                const std::vector<std::string>& others) {
  some.insert(some.end(), others.begin(), others.end());
  return some;
}

// The keys of one policy, all below its prefix.
class PolicyKeys {
 public:
  PolicyKeys(OptionTable& table, std::string prefix) : table_(table), prefix_(std::move(prefix)) {}

  std::string operator()(const char* name) const { return prefix_ + "." + name; }
  AppliesTo only(std::vector<std::string> kinds) const {
    return {(*this)("kind"), std::move(kinds)};
  }

  template <class Field, class T>
  void add(const char* name, Field& field, const Range<T>& range, OptionInfo info) const {
    table_.add((*this)(name), field, range, std::move(info));
  }

  template <class E>
  void add_choice(const char* name, E& field, std::vector<std::pair<std::string, E>> words,
                  OptionInfo info,
                  const std::vector<std::pair<std::string, E>>& aliases = {}) const {
    table_.add_choice<E>((*this)(name), field, std::move(words), std::move(info), aliases);
  }

 private:
  OptionTable& table_;
  std::string prefix_;
};

Range<Duration> longer_than_nothing() {
  return {"> 0", [](const Duration& d) { return d.amount > 0; }};
}

void declare_times(const PolicyKeys& keys, PolicyOptions& policy) {
  keys.add(
      "length", policy.length, longer_than_nothing(),
      {.description = "step: time between two drops; exponential: time in which the LR falls by "
                      "gamma; sigmoid: its middle; cycles: half a period, of sawtooths a whole; "
                      "cosine_restarts: first cycle; others: time until the end. Omitted: the rest "
                      "of training, where there is an end",
       .applies = keys.only(joined({"step", "exponential", "polynomial", "sigmoid", "sigmoid_decay",
                                    "cosine", "cosine_restarts", "one_cycle", "one_cycle_torch"},
                                   words_where(is_cycle)))});
  keys.add("milestones", policy.milestones, Range<Duration>{},
           {.description = "when the LR is multiplied by gamma, strictly increasing",
            .applies = keys.only({"multistep"})});
  keys.add("up", policy.up, Range<Duration>{},
           {.description = "from start to the peak", .applies = keys.only({"trapezoid"})});
  keys.add("flat", policy.flat, Range<Duration>{},
           {.description = "at the peak; omitted: what up and down leave of training",
            .applies = keys.only({"trapezoid"})});
  keys.add("down", policy.down, Range<Duration>{},
           {.description = "from the peak to end", .applies = keys.only({"trapezoid"})});
  keys.add("stable", policy.stable, Range<Duration>{},
           {.description = "at the peak; omitted: what decay leaves of training",
            .applies = keys.only({"warmup_stable_decay"})});
  keys.add("decay", policy.decay, Range<Duration>{},
           {.description = "from the peak to min_ratio; omitted: what stable leaves of training",
            .applies = keys.only({"warmup_stable_decay"})});
  keys.add("timescale", policy.timescale, longer_than_nothing(),
           {.description = "LR = peak / sqrt(1 + t / timescale); omitted: lr.warmup.length",
            .applies = keys.only({"inverse_sqrt"})});
}

void declare_shapes(const PolicyKeys& keys, PolicyOptions& policy) {
  const auto decaying = joined({"inverse", "sigmoid"}, cycles_with(Envelope::kExponential));
  keys.add("gamma", policy.gamma,
           Range<double>{"> 0 (sigmoid: also < 0)", [](const double& gamma) { return gamma != 0; }},
           {.description = "factor of every drop; exponential: factor per length; cycles: factor "
                           "of the amplitude per gamma_per; inverse, sigmoid: rate per gamma_per",
            .applies = keys.only(joined({"step", "multistep", "exponential"}, decaying))});
  keys.add("gamma_per", policy.gamma_per, longer_than_nothing(),
           {.description = "the time that gamma is meant for; LRBench's is 1steps",
            .required = true,
            .applies = keys.only(decaying)});
  keys.add("power", policy.power, above(0.0),
           {.description = "polynomial: 1 is linear; inverse: (1 + gamma t)^-power",
            .applies = keys.only({"inverse", "polynomial"})});
  keys.add("kappa", policy.kappa, Range<double>{},
           {.description = "steepness of end + (base - end) / (1 + exp(kappa (2 x - 1)))",
            .applies = keys.only({"sigmoid_decay"})});
  keys.add("cycles", policy.cycles, between<int64_t>(1, 1'000'000),
           {.description = "sigmoid_decay: parts of length that each have the whole curve; "
                           "trapezoid: how often it is repeated",
            .applies = keys.only({"sigmoid_decay", "trapezoid"})});
  keys.add("t_mult", policy.t_mult, between<int64_t>(1, 1'000'000),
           {.description = "length of each cycle over that of the one before it",
            .applies = keys.only({"cosine_restarts"})});
}

void declare_levels(const PolicyKeys& keys, PolicyOptions& policy) {
  keys.add("k0", policy.k0, at_least(0.0),
           {.description = "lowest learning rate, at lr.base_batch",
            .required = true,
            .applies = keys.only(words_where(is_cycle))});
  keys.add("k1", policy.k1, above(0.0),
           {.description = "highest learning rate, at lr.base_batch",
            .required = true,
            .applies = keys.only(words_where(is_cycle))});
  keys.add("start", policy.start, at_least(0.0),
           {.description = "first learning rate, at lr.base_batch",
            .applies = keys.only({"trapezoid"})});
  keys.add("end", policy.end, at_least(0.0),
           {.description = "last learning rate, at lr.base_batch",
            .applies = keys.only(
                {"polynomial", "sigmoid_decay", "cosine", "cosine_restarts", "trapezoid"})});
  keys.add_choice<Anneal>(
      "decay_type", policy.decay_type,
      {{"linear", Anneal::kLinear}, {"cosine", Anneal::kCosine}, {"1-sqrt", Anneal::kOneMinusSqrt}},
      {.description = "how the LR decays", .applies = keys.only({"warmup_stable_decay"})});
  keys.add("min_ratio", policy.min_ratio, between(0.0, 1.0),
           {.description = "last learning rate over the peak",
            .applies = keys.only({"warmup_stable_decay"})});
}

void declare_one_cycle(const PolicyKeys& keys, PolicyOptions& policy) {
  const AppliesTo both = keys.only({"one_cycle", "one_cycle_torch"});
  const AppliesTo torch = keys.only({"one_cycle_torch"});
  keys.add("pct_start", policy.pct_start, between(0.0, 1.0),
           {.description = "part of length in which the LR rises; omitted: 0.25, of "
                           "one_cycle_torch 0.3",
            .applies = both});
  keys.add("div", policy.div, above(0.0),
           {.description = "peak over the first learning rate", .applies = both});
  keys.add("div_final", policy.div_final, above(0.0),
           {.description = "one_cycle: peak over the last learning rate, omitted: 1e5; "
                           "one_cycle_torch: first over last, omitted: 1e4",
            .applies = both});
  keys.add_choice<Anneal>(
      "anneal", policy.anneal, {{"cosine", Anneal::kCosine}, {"linear", Anneal::kLinear}},
      {.description = "how the LR gets from one to the next", .applies = torch});
  keys.add(
      "three_phase", policy.three_phase, Range<bool>{},
      {.description = "back to the first learning rate before the last phase", .applies = torch});
}

// Milestones of different units are compared where they are known as steps (make_schedule).
void check_milestones(const std::string& key, const std::vector<Duration>& milestones,
                      std::vector<OptionProblem>& problems) {
  for (size_t i = 1; i < milestones.size(); ++i) {
    if (milestones[i].unit == milestones[i - 1].unit &&
        milestones[i].amount <= milestones[i - 1].amount) {
      problems.push_back(
          {key, concat(OptionCodec<Duration>::print(milestones[i]), " does not come after ",
                       OptionCodec<Duration>::print(milestones[i - 1]),
                       "; legal: strictly increasing durations")});
    }
  }
}

// What the length of a kind is that needs one; nullptr where it may be omitted.
const char* needed_length(PolicyKind kind) {
  if (is_cycle(kind)) {
    return wave_of(kind) >= Wave::kSawtooth ? "the length of a tooth" : "half of a period";
  }
  if (kind == kStep) return "the time between two drops";
  if (kind == kSigmoid) return "when half of the way is done";
  if (kind == kCosineRestarts) return "the first cycle";
  return nullptr;
}

}  // namespace

PolicyKind cycle_kind(Wave wave, Envelope envelope) {
  return static_cast<PolicyKind>(static_cast<int>(kTriangular) +
                                 kEnvelopes * static_cast<int>(wave) + static_cast<int>(envelope));
}
bool is_cycle(PolicyKind kind) { return kind >= kTriangular; }
Wave wave_of(PolicyKind cycle) {
  return static_cast<Wave>((static_cast<int>(cycle) - static_cast<int>(kTriangular)) / kEnvelopes);
}
Envelope envelope_of(PolicyKind cycle) {
  return static_cast<Envelope>((static_cast<int>(cycle) - static_cast<int>(kTriangular)) %
                               kEnvelopes);
}

std::string word_of(PolicyKind kind) {
  return words_where([&](PolicyKind k) { return k == kind; }).at(0);
}

AppliesTo policies_with_base(const std::string& prefix) {
  return {prefix + ".kind", words_where([](PolicyKind kind) { return !is_cycle(kind); })};
}

void declare_policy(OptionTable& table, const std::string& prefix, PolicyOptions& policy) {
  const PolicyKeys keys(table, prefix);
  const auto [words, aliases] = kind_words();
  keys.add_choice<PolicyKind>(
      "kind", policy.kind, words,
      {.description = "shape of the learning rate over time; LRBench's names (FIX, STEP, … TRIEXP, "
                      "COSRSW2), SGDR and WSD are taken too"},
      aliases);
  declare_times(keys, policy);
  declare_shapes(keys, policy);
  declare_levels(keys, policy);
  declare_one_cycle(keys, policy);
}

void check_policy(const std::string& prefix, const PolicyOptions& policy,
                  std::vector<OptionProblem>& problems) {
  const PolicyKind kind = policy.kind;
  const auto wrong = [&](const char* key, std::string message) {
    problems.push_back({prefix + "." + key, std::move(message)});
  };
  if (const char* meaning = needed_length(kind); meaning != nullptr && !policy.length) {
    wrong("length", concat("needed by policy ", word_of(kind), ": ", meaning));
  }
  if (kind == kMultistep && policy.milestones.empty()) {
    wrong("milestones", "needed by policy multistep; Goyal's are [30ep, 60ep, 80ep]");
  }
  check_milestones(prefix + ".milestones", policy.milestones, problems);
  if (kind != kSigmoid && policy.gamma < 0) {
    wrong("gamma", concat(policy.gamma, " is negative; legal: > 0, except with policy sigmoid"));
  }
  if (is_cycle(kind)) {
    if (envelope_of(kind) == Envelope::kExponential && policy.gamma > 1) {
      wrong("gamma", concat(policy.gamma,
                            " makes the amplitude grow without end; legal: > 0 and "
                            "<= 1"));
    }
    if (policy.k1 < policy.k0) {
      wrong("k1", concat(policy.k1, " is below k0, which is ", policy.k0,
                         "; legal: at least k0 (a policy that starts at the top: another kind)"));
    }
  }
  if (kind == kOneCycleTorch && policy.three_phase && policy.pct_start.value_or(0.3) > 0.5) {
    wrong("pct_start", concat(*policy.pct_start,
                              " leaves no time for the way back that three_phase asks for; legal: "
                              "<= 0.5"));
  }
  if (kind == kWarmupStableDecay && !policy.stable && !policy.decay) {
    wrong("decay", "needed by policy warmup_stable_decay, unless stable is given");
  }
}

}  // namespace largo::optim
