#include "trainer/base/duration.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace largo {
namespace {

using Unit = Duration::Unit;

template <class T>
std::string refusal(const std::string& text) {
  try {
    OptionCodec<T>::parse(text);
  } catch (const std::invalid_argument& wrong) {
    return wrong.what();
  }
  return "accepted";
}

TEST(Duration, ReadsEveryUnit) {
  EXPECT_EQ(OptionCodec<Duration>::parse("5ep"), (Duration{5, Unit::kEpochs}));
  EXPECT_EQ(OptionCodec<Duration>::parse("0.5ep"), (Duration{0.5, Unit::kEpochs}));
  EXPECT_EQ(OptionCodec<Duration>::parse("300steps"), (Duration{300, Unit::kSteps}));
  EXPECT_EQ(OptionCodec<Duration>::parse("1000000samples"), (Duration{1e6, Unit::kSamples}));
  EXPECT_EQ(OptionCodec<Duration>::parse("0steps"), (Duration{0, Unit::kSteps}));
  EXPECT_EQ(OptionCodec<Duration>::parse("0ep"), (Duration{0, Unit::kEpochs}));
}

TEST(Duration, PrintsWhatItReads) {
  for (const std::string text : {"5ep", "0.5ep", "7.75ep", "0.1ep", "300steps", "0steps",
                                 "1000000samples", "1000000000000000samples"}) {
    EXPECT_EQ(OptionCodec<Duration>::print(OptionCodec<Duration>::parse(text)), text);
  }
}

TEST(Duration, ReadsBackWhatItPrints) {
  for (const Duration value :
       {Duration{1.0 / 3, Unit::kEpochs}, Duration{1e7, Unit::kEpochs},
        Duration{1e-7, Unit::kEpochs}, Duration{123456789012, Unit::kSteps}}) {
    const std::string text = OptionCodec<Duration>::print(value);
    EXPECT_EQ(OptionCodec<Duration>::parse(text), value) << text;
  }
}

TEST(Duration, RefusesWhatHasNoKnownUnit) {
  for (const std::string text :
       {"5", "5 ep", "5epochs", "5EP", "5step", "300s", "5ep ", "5epx", "5min"}) {
    EXPECT_EQ(refusal<Duration>(text), "has no known unit") << text;
  }
}

TEST(Duration, RefusesWhatIsNoNumber) {
  for (const std::string text : {"", "ep", "steps", "fiveep", "infep", "nansteps"}) {
    EXPECT_NE(refusal<Duration>(text), "accepted") << text;
  }
  EXPECT_EQ(refusal<Duration>("ep"), "does not start with a number");
  for (const std::string text : {"1.2.3ep", "1-2ep", "+5ep", "--5ep", ".ep", "-ep"}) {
    EXPECT_EQ(refusal<Duration>(text), "is not a number") << text;
  }
}

TEST(Duration, RefusesNegativeLengths) {
  EXPECT_EQ(refusal<Duration>("-5ep"), "is negative");
  EXPECT_EQ(refusal<Duration>("-0steps"), "is negative");
}

TEST(Duration, RefusesPartsOfSteps) {
  EXPECT_EQ(refusal<Duration>("2.5steps"), "is not a whole number");
  EXPECT_EQ(refusal<Duration>("0.1samples"), "is not a whole number");
}

// Whatever is counted in them fits into 64 bits.
TEST(Duration, RefusesWhatIsTooLong) {
  EXPECT_EQ(refusal<Duration>("10000001ep"), "is longer than 1e7 epochs");
  EXPECT_EQ(refusal<Duration>("1000000000001steps"), "is longer than 1e12 steps");
  EXPECT_EQ(refusal<Duration>("99999999999999999samples"), "is longer than 1e15 samples");
}

TEST(Time, ReadsEveryUnit) {
  EXPECT_EQ(OptionCodec<Time>::parse("600s"), Time{600});
  EXPECT_EQ(OptionCodec<Time>::parse("0.25s"), Time{0.25});
  EXPECT_EQ(OptionCodec<Time>::parse("15min"), Time{900});
  EXPECT_EQ(OptionCodec<Time>::parse("2h"), Time{7200});
  EXPECT_EQ(OptionCodec<Time>::parse("0s"), Time{0});
}

TEST(Time, ReadsBackWhatItPrints) {
  EXPECT_EQ(OptionCodec<Time>::print(Time{900}), "900s");
  for (const double seconds : {0.0, 0.1, 1.0 / 3, 86400.0, 1e22}) {
    const std::string text = OptionCodec<Time>::print(Time{seconds});
    EXPECT_EQ(OptionCodec<Time>::parse(text), Time{seconds}) << text;
  }
}

TEST(Time, RefusesTheRest) {
  EXPECT_EQ(refusal<Time>("600"), "has no known unit");
  EXPECT_EQ(refusal<Time>("5m"), "has no known unit");
  EXPECT_EQ(refusal<Time>("5ep"), "has no known unit");
  EXPECT_EQ(refusal<Time>("10 min"), "has no known unit");
  EXPECT_EQ(refusal<Time>("-5s"), "is negative");
  EXPECT_EQ(refusal<Time>("min"), "does not start with a number");
  EXPECT_NE(refusal<Time>(""), "accepted");
}

}  // namespace
}  // namespace largo
