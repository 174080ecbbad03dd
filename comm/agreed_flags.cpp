#include "comm/agreed_flags.h"

#include <mpi.h>

#include <array>
#include <exception>
#include <numeric>
#include <utility>
#include <vector>

#include "comm/flight_record.h"
#include "comm/mpi_check.h"

namespace largo::comm {

struct AgreedFlags::Rounds {
  struct Round {
    MPI_Request request = MPI_REQUEST_NULL;
    Flags mine = 0;
    Flags all = 0;

    void let_mpi_work() {
      int done = 0;
      mpi_check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    }
  };

  explicit Rounds(const MpiSession& session)
      : line(session.flight_record(), "the flags", all_of(session)) {}

  void wait(Round& round) {
    const FlightRecord::Call call(&line, CallKind::kAllReduce, sizeof(Flags), {});
    mpi_check(MPI_Wait(&round.request, MPI_STATUS_IGNORE), "MPI_Wait");
  }

  static std::vector<int> all_of(const MpiSession& session) {
    std::vector<int> ranks(static_cast<size_t>(session.size()));
    std::iota(ranks.begin(), ranks.end(), 0);
    return ranks;
  }

  FlightRecord::Line line;
  MpiComm comm;
  std::array<Round, kLag> rounds;  // the oldest is `next`
  size_t next = 0;
};

AgreedFlags::AgreedFlags(const MpiSession& session)
    : rounds_(std::make_unique<Rounds>(session)), exceptions_at_start_(std::uncaught_exceptions()) {
  MPI_Comm copy = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
  rounds_->comm = MpiComm(copy);
}

AgreedFlags::~AgreedFlags() {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    // Other ranks may not come any more, and MPI may still write here.
    [[maybe_unused]] const Rounds* left_behind = rounds_.release();
    return;
  }
  const FlightRecord::Call call(&rounds_->line, CallKind::kAllReduce, sizeof(Flags), {});
  for (Rounds::Round& round : rounds_->rounds) MPI_Wait(&round.request, MPI_STATUS_IGNORE);
}

AgreedFlags::Flags AgreedFlags::exchange(Flags mine) {
  static_assert(sizeof(Flags) == 4);
  Rounds::Round& round = rounds_->rounds[rounds_->next];
  rounds_->next = (rounds_->next + 1) % kLag;
  rounds_->wait(round);
  rounds_->rounds[rounds_->next].let_mpi_work();
  const Flags agreed = std::exchange(round.all, 0);
  round.mine = mine;
  mpi_check(MPI_Iallreduce(&round.mine, &round.all, 1, MPI_UINT32_T, MPI_BOR, rounds_->comm.get(),
                           &round.request),
            "MPI_Iallreduce");
  return agreed;
}

}  // namespace largo::comm
