#include "trainer/optim/policy_options.h"

#include <algorithm>
#include <utility>

#include "comm/base/error.h"

namespace largo::optim {

namespace {

template <class Holds>
std::vector<std::string> words_where(Holds holds) {
  std::vector<std::string> words;
  for (const auto& [word, kind] : policy_words()) {
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

  OptionTable& table() const { return table_; }
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

void declare_piece(OptionTable& table, const std::string& prefix, PolicyPiece& piece) {
  const std::string policy = prefix + ".policy";
  table.add(prefix + ".until", piece.until, longer_than_nothing(),
            {.description = "when the next piece begins, on the clock of the list; the last piece "
                            "has none"});
  table.add(prefix + ".base", piece.base, above(0.0),
            {.description = "learning rate at lr.base_batch; omitted: that of the list, lr.base",
             .applies = policies_with_base(policy)});
  declare_policy(table, policy, piece.policy);
}

void declare_pieces(const PolicyKeys& keys, PolicyOptions& policy) {
  keys.table().add_rows(keys("pieces"), policy.pieces, declare_piece,
                        {.description = "policies one after the other, each from its own time 0; "
                                        "an omitted length is the piece's",
                         .applies = keys.only({"piecewise"})});
}

void declare_factor(OptionTable& table, const std::string& prefix, PolicyPiece& factor) {
  declare_policy(table, prefix, factor.policy);
}

void declare_factors(const PolicyKeys& keys, PolicyOptions& policy) {
  keys.table().add_rows(keys("factors"), policy.factors, declare_factor,
                        {.description = "policies that are multiplied with one another and the "
                                        "base: each starts from 1, and its levels are parts of the "
                                        "base",
                         .applies = keys.only({"product"})});
}

// A policy within another, or of what is not the learning rate, cannot follow training.
void refuse_plateau(Option& kind) {
  kind.set = [set = std::move(kind.set),
              legal = kind.type](const OptionValue& value) -> std::optional<std::string> {
    for (const auto& [word, of_word] : policy_words()) {
      if (is_plateau(of_word) && !value.is_list && value.scalar == word) {
        return concat('"', word,
                      "\" follows training, which only lr.policy itself can; legal: ", legal);
      }
    }
    return set(value);
  };
}

// The policies that the policy goes through; nullptr where it is one itself.
const std::vector<PolicyPiece>* parts_of(const PolicyOptions& policy) {
  if (policy.kind == PolicyKind::kPiecewise) return &policy.pieces;
  if (policy.kind == PolicyKind::kPlateauChange) return &policy.plateau.levels;
  return nullptr;
}

}  // namespace

bool uses_base(const PolicyOptions& policy) {
  const std::vector<PolicyPiece>* parts = parts_of(policy);
  if (parts == nullptr) return !is_cycle(policy.kind);
  return std::any_of(parts->begin(), parts->end(),
                     [](const PolicyPiece& part) { return !part.base && uses_base(part.policy); });
}

bool lacks_parts(const PolicyOptions& policy) {
  const std::vector<PolicyPiece>* parts = parts_of(policy);
  return parts != nullptr &&
         (parts->empty() || std::any_of(parts->begin(), parts->end(), [](const PolicyPiece& part) {
            return lacks_parts(part.policy);
          }));
}

double top_of(const PolicyOptions& policy, double base) {
  if (is_cycle(policy.kind)) return policy.k1;
  if (policy.kind == PolicyKind::kProduct) {
    double top = base;
    for (const PolicyPiece& factor : policy.factors) top *= top_of(factor.policy, 1);
    return top;
  }
  const std::vector<PolicyPiece>* parts = parts_of(policy);
  if (parts == nullptr) return base;
  double top = 0;
  for (const PolicyPiece& part : *parts) {
    top = std::max(top, top_of(part.policy, part.base.value_or(base)));
  }
  return top;
}

AppliesTo policies_with_base(const std::string& prefix) {
  return {prefix + ".kind", words_where([](PolicyKind kind) { return !is_cycle(kind); })};
}

void declare_policy(OptionTable& table, const std::string& prefix, PolicyOptions& policy,
                    PolicyUse use) {
  const PolicyKeys keys(table, prefix);
  PolicyWords words = policy_words();
  if (use == PolicyUse::kFixed) {
    std::erase_if(words, [](const auto& word) { return is_plateau(word.second); });
  }
  keys.add_choice<PolicyKind>(
      "kind", policy.kind, std::move(words),
      {.description = "shape of the learning rate over time; LRBench's names (FIX, STEP, … TRIEXP, "
                      "COSRSW2), SGDR, WSD and linear (a polynomial) are taken too"},
      policy_aliases());
  if (use == PolicyUse::kFixed) refuse_plateau(*table.find(keys("kind")));
  declare_times(keys, policy);
  declare_shapes(keys, policy);
  declare_levels(keys, policy);
  declare_one_cycle(keys, policy);
  declare_pieces(keys, policy);
  declare_factors(keys, policy);
  if (use == PolicyUse::kMayFollowTraining) declare_plateau(table, prefix, policy.plateau);
}

}  // namespace largo::optim
