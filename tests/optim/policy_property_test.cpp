// Every kind of policy with random legal options: never NaN, and the same after a restart.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "comm/base/error.h"
#include "trainer/optim/make_controller.h"
#include "trainer/optim/plateau.h"
#include "trainer/optim/scaling.h"

namespace largo::optim {
namespace {

constexpr int64_t kTotalSteps = 500;

class Draw {
 public:
  explicit Draw(uint64_t seed) : bits_(seed) {}

  int64_t whole(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(bits_);
  }
  bool coin() { return whole(0, 1) == 1; }
  double number(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(bits_);
  }
  double by_decades(double low, double high) {
    return std::exp(number(std::log(low), std::log(high)));
  }
  // Often shorter or longer than training, and whole steps.
  Duration length() { return {std::round(by_decades(1, 5000))}; }
  std::optional<Duration> maybe_length() { return coin() ? std::optional(length()) : std::nullopt; }

 private:
  std::mt19937_64 bits_;
};

PolicyOptions policy_of(PolicyKind kind, Draw& draw, int depth = 0);

bool is_made_of_policies(PolicyKind kind) {
  return kind == PolicyKind::kPiecewise || kind == PolicyKind::kProduct;
}

std::vector<PolicyPiece> pieces(Draw& draw, int depth, bool until) {
  const PolicyWords words = policy_words();
  std::vector<PolicyPiece> list(static_cast<size_t>(draw.whole(2, 4)));
  double end = 0;
  for (PolicyPiece& piece : list) {
    PolicyKind kind = PolicyKind::kPlateauReduce;
    while (is_plateau(kind) || (depth > 1 && is_made_of_policies(kind))) {
      kind = words[static_cast<size_t>(draw.whole(0, std::ssize(words) - 1))].second;
    }
    piece.policy = policy_of(kind, draw, depth + 1);
    if (draw.coin() && uses_base(piece.policy)) piece.base = draw.by_decades(1e-5, 10);
    if (until && &piece != &list.back()) piece.until = Duration{end += draw.length().amount};
  }
  return list;
}

PolicyOptions policy_of(PolicyKind kind, Draw& draw, int depth) {
  PolicyOptions policy;
  policy.kind = kind;
  policy.length = draw.length();
  const bool needs_length = is_cycle(kind) || kind == PolicyKind::kStep ||
                            kind == PolicyKind::kSigmoid || kind == PolicyKind::kCosineRestarts;
  if (!needs_length && draw.coin()) policy.length.reset();
  policy.gamma = draw.by_decades(1e-6, 1);
  if (kind == PolicyKind::kInverse) policy.gamma = draw.by_decades(1e-6, 1e6);
  if (kind == PolicyKind::kSigmoid) policy.gamma *= draw.coin() ? 1000 : -1000;
  policy.gamma_per = draw.length();
  policy.power = draw.by_decades(0.01, 20);
  policy.end = draw.coin() ? 0 : draw.by_decades(1e-6, 1);
  policy.k0 = draw.coin() ? 0 : draw.by_decades(1e-6, 0.1);
  policy.k1 = draw.by_decades(0.1, 10);
  policy.t_mult = draw.whole(1, 5);
  if (draw.coin()) policy.pct_start = draw.number(0, 0.5);
  policy.div = draw.by_decades(0.1, 1e6);
  policy.three_phase = draw.coin();
  policy.anneal = draw.coin() ? Anneal::kCosine : Anneal::kLinear;
  policy.start = draw.number(0, 1);
  policy.up = Duration{static_cast<double>(draw.whole(0, 100))};
  policy.down = Duration{static_cast<double>(draw.whole(1, 100))};
  policy.flat = draw.maybe_length();
  policy.kappa = draw.by_decades(0.01, 1e6);
  policy.timescale = draw.length();
  policy.stable = draw.maybe_length();
  policy.decay = policy.stable ? draw.maybe_length() : Duration{20};
  policy.decay_type = static_cast<Anneal>(draw.whole(0, 2));
  policy.min_ratio = draw.number(0, 1);
  policy.milestones = {draw.length()};
  if (draw.coin()) policy.milestones.push_back({policy.milestones[0].amount + 7});
  if (kind == PolicyKind::kPiecewise) policy.pieces = pieces(draw, depth, true);
  if (kind == PolicyKind::kProduct) {
    policy.factors = pieces(draw, depth, false);
    for (PolicyPiece& factor : policy.factors) factor.base.reset();
  }
  PlateauOptions& plateau = policy.plateau;
  plateau.every = {static_cast<double>(draw.whole(1, 40))};
  plateau.patience = draw.whole(0, 3);
  plateau.factor = draw.by_decades(1e-4, 0.99);
  plateau.cooldown = draw.whole(0, 3);
  plateau.window = draw.whole(2, 4);
  plateau.metric = static_cast<PlateauMetric>(draw.whole(0, 2));
  if (kind == PolicyKind::kPlateauChange) {
    plateau.levels = pieces(draw, depth, false);
    plateau.first = draw.whole(0, std::ssize(plateau.levels) - 1);
  }
  return policy;
}

LrOptions options_of(PolicyKind kind, Draw& draw) {
  LrOptions options;
  options.base_batch = 128;
  options.policy = policy_of(kind, draw);
  if (uses_base(options.policy)) options.base = draw.by_decades(1e-5, 10);
  options.policy_clock = static_cast<PolicyClock>(draw.whole(0, 2));
  if (draw.coin()) {
    options.warmup = {.kind = WarmupKind::kGradual,
                      .length = draw.length(),
                      .start = {WarmupStart::Kind::kZero, 0}};
  }
  return options;
}

ScheduleInputs inputs() {
  return {.global_batch = 1024, .total_steps = kTotalSteps, .steps_of = [](const Duration& d) {
            return d.amount;
          }};
}

// Calls take(options, schedule) with random options of every kind that pass the checks.
template <class Take>
void for_all_kinds(int count, const Take& take) {
  for (const auto& [word, kind] : policy_words()) {
    Draw draw(static_cast<uint64_t>(kind) + 1);
    int taken = 0;
    for (int i = 0; i < count; ++i) {
      const LrOptions options = options_of(kind, draw);
      std::vector<OptionProblem> problems = check(options);
      // Levels in a random order are seldom legal; the values do not care.
      std::erase_if(problems, [](const OptionProblem& problem) {
        return problem.message.find("of the level before it") != std::string::npos;
      });
      ASSERT_TRUE(problems.empty()) << word << ": " << problems[0].key << problems[0].message;
      try {
        take(word, options, make_schedule(options, inputs()));
        ++taken;
      } catch (const OptionError&) {  // lengths that do not fit into training
      }
    }
    EXPECT_GT(taken, count / 10) << word;
  }
}

TEST(EveryPolicy, IsNeverNotANumber) {
  for_all_kinds(60, [](const std::string& word, const LrOptions&, const LrSchedule& schedule) {
    Draw draw(7);
    std::vector<double> times = {0, 0.5, 1, 2, kTotalSteps - 1, kTotalSteps, 1e5, 1e9, 1e15};
    for (int i = 0; i < 200; ++i) {
      times.push_back(draw.number(0, 1000));
      times.push_back(static_cast<double>(draw.whole(0, 6000)));
    }
    for (const double t : times) {
      const double lr = schedule.lr(t);
      ASSERT_TRUE(std::isfinite(lr) && lr >= 0) << word << " at " << t << ": " << lr;
    }
  });
}

// With any legal numbers a schedule is refused, or finite at every step of the run.
TEST(EveryPolicy, IsRefusedOrFiniteWithExtremeNumbers) {
  for (const auto& [word, kind] : policy_words()) {
    Draw draw(static_cast<uint64_t>(kind) + 100);
    const auto extreme = [&] { return draw.by_decades(1e-320, 1e308); };
    int taken = 0;
    for (int i = 0; i < 100; ++i) {
      LrOptions options = options_of(kind, draw);
      std::vector<PolicyOptions*> policies = {&options.policy};
      for (PolicyPiece& piece : options.policy.pieces) policies.push_back(&piece.policy);
      for (PolicyPiece& factor : options.policy.factors) policies.push_back(&factor.policy);
      for (PolicyOptions* policy : policies) {
        if (draw.coin()) policy->div = extreme();
        if (draw.coin()) policy->div_final = extreme();
        if (draw.coin()) policy->end = policy->start = extreme();
        if (draw.coin()) policy->gamma = is_cycle(policy->kind) ? 1e-320 : extreme();
        if (draw.coin()) policy->k0 = policy->k1 = extreme();
        if (draw.coin()) policy->power = extreme();
      }
      if (options.base && draw.coin()) options.base = extreme();
      if (!check(options).empty()) continue;
      try {
        const LrSchedule schedule = make_schedule(options, inputs());
        for (int64_t step = 0; step < kTotalSteps; ++step) {
          const double lr = schedule.lr(static_cast<double>(step));
          ASSERT_TRUE(std::isfinite(lr)) << word << " at " << step << ": " << lr;
        }
        ++taken;
      } catch (const OptionError&) {
      }
    }
    EXPECT_TRUE(taken > 0 || is_plateau(kind)) << word;
  }
}

TEST(EveryPolicy, GoesOnAfterARestartWithTheSameBits) {
  const auto observe = [](LrController& controller, int64_t step) {
    const double metric = 1 + std::sin(static_cast<double>(step)) / 3;
    if (controller.wants_losses(step, false)) {
      controller.observe({.step = step, .loss_sum = 3 * metric, .grad_norm = 1, .samples = 3});
    }
    if (controller.wants_evaluation(step)) {
      controller.observe_evaluation({.step = step, .loss = metric, .top1 = metric / 3});
    }
  };
  for_all_kinds(
      10, [&](const std::string& word, const LrOptions& options, const LrSchedule& schedule) {
        const auto whole = make_controller(options, schedule, inputs());
        std::vector<double> lrs;
        std::vector<std::string> states;
        for (int64_t step = 0; step < kTotalSteps; ++step) {
          states.push_back(whole->state());
          lrs.push_back(whole->lr(step));
          observe(*whole, step + 1);
        }
        for (const int64_t saved : {0, 1, 77, 250, 499}) {
          const auto resumed = make_controller(options, make_schedule(options, inputs()), inputs());
          resumed->restore(states[static_cast<size_t>(saved)]);
          for (int64_t step = saved; step < kTotalSteps; ++step) {
            ASSERT_EQ(resumed->lr(step), lrs[static_cast<size_t>(step)])
                << word << ", saved after " << saved << ", at " << step;
            observe(*resumed, step + 1);
          }
          EXPECT_EQ(resumed->state(), whole->state()) << word;
        }
      });
}

}  // namespace
}  // namespace largo::optim
