#include "comm/agreed_flags.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/mpi_main.h"

namespace largo::comm {
namespace {

// Rank r has wish r % 32 at the exchanges whose number it divides.
AgreedFlags::Flags wish_of(int rank, int exchange) {
  return exchange > 0 && exchange % (rank + 1) == 0 ? 1U << rank % 32 : 0;
}

TEST(AgreedFlags, EveryRankLearnsEveryWishTwoExchangesLater) {
  const MpiSession& session = test::mpi_session();
  AgreedFlags flags(session);
  for (int exchange = 1; exchange <= 200; ++exchange) {
    AgreedFlags::Flags before = 0;
    for (int rank = 0; rank < session.size(); ++rank) {
      before |= wish_of(rank, exchange - AgreedFlags::kLag);
    }
    ASSERT_EQ(flags.exchange(wish_of(session.rank(), exchange)), before) << exchange;
  }
}

// A rank is not held up by others that are a whole step late: here they come to an exchange only
// after rank 0 has left the next one. (If it were, this would hang.)
TEST(AgreedFlags, ARankIsAStepAhead) {
  const MpiSession& session = test::mpi_session();
  AgreedFlags flags(session);
  const auto exchange = [&](int number) {
    AgreedFlags::Flags before = 0;
    for (int rank = 0; rank < session.size(); ++rank) {
      before |= wish_of(rank, number - AgreedFlags::kLag);
    }
    EXPECT_EQ(flags.exchange(wish_of(session.rank(), number)), before) << number;
  };
  if (session.rank() == 0) exchange(1);
  for (int number = 1; number <= 20; ++number) {
    if (session.rank() == 0) exchange(number + 1);
    session.broadcast(std::string());
    if (session.rank() > 0) exchange(number);
    session.all_gather(std::string());  // as a step does
  }
  if (session.rank() > 0) exchange(21);
}

}  // namespace
}  // namespace largo::comm
