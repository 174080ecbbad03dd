// What a schedule refuses, and what it says of a run before it starts.
#include <gmock/gmock.h>

#include <optional>
#include <string>
#include <utility>

#include "comm/base/error.h"
#include "tests/optim/schedule_options.h"
#include "trainer/optim/lr_schedule.h"
#include "trainer/optim/make_policy.h"

namespace largo::optim {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(LrSchedule, RefusesALearningRateThatIsNotFinite) {
  LrOptions options = of_kind(PolicyKind::kStep);
  options.policy.gamma = 10;
  options.policy.length = steps(1);
  EXPECT_NO_THROW(make_schedule(options, inputs(128, 100)));
  EXPECT_THROW(make_schedule(options, inputs(128, 1000)), OptionError);
  options = with_warmup(kBase, 20);  // from 0 to 0 by equal factors
  options.warmup.kind = WarmupKind::kExponential;
  options.policy.kind = PolicyKind::kTriangular;
  options.policy.length = steps(10);
  EXPECT_THROW(make_schedule(options, inputs(256, 100)), OptionError);
}

PolicyPiece piece(std::optional<Duration> until, PolicyOptions policy = {}) {
  PolicyPiece made;
  made.until = until;
  made.policy = std::move(policy);
  return made;
}

// A first learning rate above all numbers, at the start of training and of a piece, which the last
// step does not show.
TEST(LrSchedule, IsFiniteAtEveryStep) {
  LrOptions options = of_kind(PolicyKind::kOneCycle);
  options.policy.div = 1e-320;
  try {
    make_schedule(options, inputs(128, 100));
    ADD_FAILURE() << "infinity passes";
  } catch (const OptionError& error) {
    EXPECT_EQ(error.problem().key, "lr.policy");
    EXPECT_EQ(error.problem().message, "gives the learning rate inf at step 0; legal: finite ones");
  }
  LrOptions pieces = linear();
  pieces.policy.kind = PolicyKind::kPiecewise;
  pieces.policy.pieces = {piece(steps(40)), piece(std::nullopt, options.policy)};
  try {
    make_schedule(pieces, inputs(128, 100));
    ADD_FAILURE() << "infinity in a piece passes";
  } catch (const OptionError& error) {
    EXPECT_EQ(error.problem().key, "lr.policy.pieces.1.policy");
  }
}

std::string described(const LrOptions& options, int64_t global_batch, int64_t total_steps) {
  return make_schedule(options, inputs(global_batch, total_steps)).describe();
}

TEST(LrSchedule, SaysThatThePeakIsNotReached) {
  EXPECT_THAT(described(with_warmup(kZero, 40), 1024, 20),
              HasSubstr("; training ends within the warm-up, at LR 0.38"));
  EXPECT_THAT(described(with_warmup(kZero, 20), 1024, 20), HasSubstr("ends within the warm-up"));
  EXPECT_THAT(described(with_warmup(kZero, 20), 1024, 21), Not(HasSubstr("within the warm-up")));
  LrOptions legw = with_warmup(kZero, 1);
  legw.warmup.length = Duration{1, Duration::Unit::kEpochs};
  legw.scaling = ScalingRule::kLegw;
  EXPECT_THAT(described(legw, 4096, 100), HasSubstr("training ends within the warm-up, at LR 0.1"));

  LrOptions cycle = linear();
  cycle.base.reset();
  cycle.policy.kind = PolicyKind::kTriangular;
  cycle.policy.k1 = 0.5;
  cycle.policy.length = steps(200);
  EXPECT_THAT(described(cycle, 128, 101),
              HasSubstr("; the LR of this run stays below the peak, at most 0.25"));
  cycle.policy.length = steps(50.5);  // the top lies between two steps
  EXPECT_THAT(described(cycle, 128, 101), Not(HasSubstr("below the peak")));
}

TEST(LrSchedule, SaysThatItGetsAboveThePeak) {
  LrOptions options = of_kind(PolicyKind::kCosine);
  options.policy.end = 0.2;
  EXPECT_THAT(described(options, 256, 100), HasSubstr("; the LR gets above the peak, to 0.4"));
  options = with_warmup({WarmupStart::Kind::kNumber, 0.5}, 20);
  EXPECT_THAT(described(options, 256, 100), HasSubstr("; the LR gets above the peak, to 1"));
  EXPECT_THAT(described(linear(), 256, 100), Not(HasSubstr("peak, ")));
}

TEST(LrSchedule, SaysWhatNeverComesToAct) {
  LrOptions options = linear();
  options.policy.kind = PolicyKind::kPiecewise;
  options.policy.pieces = {piece(steps(40)), piece(steps(100)), piece({})};
  const std::string never = "(never: training is over by then)";
  EXPECT_THAT(described(options, 128, 100),
              HasSubstr("constant until step 100, then constant " + never));
  EXPECT_THAT(described(options, 128, 101), Not(HasSubstr(never)));

  options = linear();
  options.policy.kind = PolicyKind::kPlateauReduce;
  options.policy.plateau.every = steps(100);
  EXPECT_THAT(described(options, 128, 100), HasSubstr("decided every 100 steps " + never));
  EXPECT_THAT(described(options, 128, 101), Not(HasSubstr(never)));
  options.warmup = with_warmup(kZero, 20).warmup;
  EXPECT_THAT(described(options, 128, 120), HasSubstr(never));
  EXPECT_THAT(described(options, 128, 121), Not(HasSubstr(never)));
}

TEST(LrSchedule, PiecesOfAPieceEndBeforeIt) {
  LrOptions options = linear();
  PolicyPiece inner;
  inner.until = steps(40);
  inner.policy.kind = PolicyKind::kPiecewise;
  inner.policy.pieces = {piece(steps(10)), piece(steps(39)), piece({})};
  options.policy.kind = PolicyKind::kPiecewise;
  options.policy.pieces = {inner, {}};
  EXPECT_NO_THROW(make_schedule(options, inputs(128, 100)));
  options.policy.pieces[0].policy.pieces[1].until = steps(40);
  try {
    make_schedule(options, inputs(128, 100));
    ADD_FAILURE() << "a piece that never begins passes";
  } catch (const OptionError& error) {
    EXPECT_EQ(error.problem().key, "lr.policy.pieces.0.policy.pieces.1.until");
    EXPECT_THAT(error.problem().message, HasSubstr("40steps is step 40"));
  }
}

TEST(LrSchedule, RefusesWhatOnlyStepsShow) {
  LrOptions options = linear();
  options.policy.kind = PolicyKind::kMultistep;
  options.policy.milestones = {{5, Duration::Unit::kEpochs}, steps(50)};
  try {
    make_schedule(options, inputs(128, 100));
    ADD_FAILURE() << "equal milestones pass";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kConfig);
    EXPECT_THAT(error.what(), HasSubstr("50steps is step 50, not after"));
  }
  options.policy.kind = PolicyKind::kCosine;
  options.policy.length = Duration{1, Duration::Unit::kSamples};
  ScheduleInputs nothing = inputs(128, 100);
  nothing.steps_of = [](const Duration&) { return 0.0; };
  EXPECT_THROW(make_schedule(options, nothing), Error);
}

TEST(MakePolicy, NamesProblemsByItsPrefix) {
  PolicyOptions policy;
  policy.kind = PolicyKind::kCosine;
  policy.length = steps(0.5);
  PolicyContext context = {.prefix = "optimizer.momentum_schedule",
                           .peak = 0.9,
                           .rest = 20,
                           .steps_of = [](const Duration&) { return 0.0; }};
  try {
    make_policy(policy, context);
    ADD_FAILURE() << "a length of no step passes";
  } catch (const OptionError& error) {
    EXPECT_EQ(error.problem().key, "optimizer.momentum_schedule.length");
  }
  policy.length.reset();
  EXPECT_EQ(make_policy(policy, context).policy(20), 0);
  EXPECT_DOUBLE_EQ(make_policy(policy, context).policy(10), 0.45);
}

TEST(LrSchedule, DescribesItself) {
  LrOptions options = with_warmup(kBase, 20);
  options.policy.kind = PolicyKind::kCosine;
  EXPECT_EQ(make_schedule(options, inputs(4096, 100)).describe(),
            "peak LR 3.2 = 0.1 × 32 (linear, batch 4096 / 128); warm-up from 0.1 for 20 steps; "
            "cosine to 0 in 79 steps after it");
  options.policy.kind = PolicyKind::kMultistep;
  options.policy.milestones = {steps(30), steps(60)};
  EXPECT_THAT(make_schedule(options, inputs(4096, 100)).describe(),
              HasSubstr("multistep × 0.1 at 30, 60 counted from the start of training"));
  options.scaling = ScalingRule::kNone;
  options.warmup.kind = WarmupKind::kNone;
  EXPECT_THAT(make_schedule(options, inputs(4096, 100)).describe(),
              testing::StartsWith("peak LR 0.1 (no scaling); no warm-up; multistep"));
}

}  // namespace
}  // namespace largo::optim
