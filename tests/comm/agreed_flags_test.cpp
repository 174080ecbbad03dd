#include "comm/agreed_flags.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/mpi_main.h"

namespace largo::comm {
namespace {

TEST(AgreedFlags, EveryRankLearnsEveryWishAtTheNextExchange) {
  const MpiSession& session = test::mpi_session();
  AgreedFlags flags(session);
  // Rank r has wish r % 32 at the exchanges whose number it divides.
  const auto wish_of = [](int rank, int exchange) -> AgreedFlags::Flags {
    return exchange % (rank + 1) == 0 ? 1U << rank % 32 : 0;
  };
  EXPECT_EQ(flags.exchange(wish_of(session.rank(), 1)), 0U);
  for (int exchange = 2; exchange <= 200; ++exchange) {
    AgreedFlags::Flags before = 0;
    for (int rank = 0; rank < session.size(); ++rank) before |= wish_of(rank, exchange - 1);
    ASSERT_EQ(flags.exchange(wish_of(session.rank(), exchange)), before) << exchange;
  }
}

// An exchange does not wait for the same exchange of other ranks: here they come to it only after
// rank 0 has left it. (If it did, this would hang.)
TEST(AgreedFlags, ARankLeavesBeforeOthersCome) {
  const MpiSession& session = test::mpi_session();
  AgreedFlags flags(session);
  for (int i = 0; i < 20; ++i) {
    const auto wish = static_cast<AgreedFlags::Flags>(1 + i);
    if (session.rank() > 0) session.broadcast(std::string());
    const AgreedFlags::Flags agreed = flags.exchange(session.rank() == 0 ? wish : 0);
    EXPECT_EQ(agreed, static_cast<AgreedFlags::Flags>(i));
    if (session.rank() == 0) session.broadcast(std::string("rank 0 has left"));
    session.all_gather(std::string());  // as a step does
  }
}

}  // namespace
}  // namespace largo::comm
