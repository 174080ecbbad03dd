#include <utility>

#include "comm/base/error.h"
#include "trainer/optim/policy_options.h"

namespace largo::optim {

namespace {

using enum PolicyKind;

// Durations of different units are compared where they are known as steps (make_policy).
void check_order(const std::string& key, const Duration& before, const Duration& after,
                 std::vector<OptionProblem>& problems) {
  if (after.unit == before.unit && after.amount <= before.amount) {
    problems.push_back({key, concat(OptionCodec<Duration>::print(after), " does not come after ",
                                    OptionCodec<Duration>::print(before),
                                    "; legal: strictly increasing durations")});
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

void check_pieces(const std::string& prefix, const std::vector<PolicyPiece>& pieces,
                  std::vector<OptionProblem>& problems) {
  if (pieces.empty()) {
    problems.push_back({prefix, "needed by policy piecewise: a list of {until, policy}"});
  }
  for (size_t i = 0; i < pieces.size(); ++i) {
    const PolicyPiece& piece = pieces[i];
    const std::string key = concat(prefix, ".", i);
    const bool last = i + 1 == pieces.size();
    if (!last && !piece.until) {
      problems.push_back({key + ".until", "needed by every piece but the last"});
    }
    if (last && piece.until) {
      problems.push_back({key + ".until", "belongs to every piece but the last, which goes on"});
    }
    if (i > 0 && piece.until && pieces[i - 1].until) {
      check_order(key + ".until", *pieces[i - 1].until, *piece.until, problems);
    }
    if (piece.base && !uses_base(piece.policy) && !lacks_parts(piece.policy)) {
      problems.push_back({key + ".base", "no policy of this piece starts from it"});
    }
    check_policy(key + ".policy", piece.policy, problems);
  }
}

void check_factors(const std::string& prefix, const std::vector<PolicyPiece>& factors,
                   std::vector<OptionProblem>& problems) {
  if (factors.empty()) {
    problems.push_back({prefix, "needed by policy product: a list of policies"});
  }
  for (size_t i = 0; i < factors.size(); ++i) {
    check_policy(concat(prefix, ".", i), factors[i].policy, problems);
  }
}

}  // namespace

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
  for (size_t i = 1; i < policy.milestones.size(); ++i) {
    check_order(prefix + ".milestones", policy.milestones[i - 1], policy.milestones[i], problems);
  }
  if (kind == kPiecewise) check_pieces(prefix + ".pieces", policy.pieces, problems);
  if (kind == kProduct) check_factors(prefix + ".factors", policy.factors, problems);
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
