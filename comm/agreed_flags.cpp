#include "comm/agreed_flags.h"

#include <mpi.h>

#include <exception>
#include <numeric>
#include <utility>
#include <vector>

#include "comm/flight_record.h"
#include "comm/mpi_check.h"

namespace largo::comm {

struct AgreedFlags::Round {
  explicit Round(const MpiSession& session)
      : line(session.flight_record(), "the flags", all_of(session)) {}

  // MPI passes a round on only while it is called: a rank waits here for one that is late.
  void wait() {
    const FlightRecord::Call call(&line, CallKind::kAllReduce, sizeof(Flags), {});
    mpi_check(MPI_Wait(&request, MPI_STATUS_IGNORE), "MPI_Wait");
  }

  static std::vector<int> all_of(const MpiSession& session) {
    std::vector<int> ranks(static_cast<size_t>(session.size()));
    std::iota(ranks.begin(), ranks.end(), 0);
    return ranks;
  }

  FlightRecord::Line line;
  MpiComm comm;
  MPI_Request request = MPI_REQUEST_NULL;
  Flags mine = 0;
  Flags all = 0;
};

AgreedFlags::AgreedFlags(const MpiSession& session)
    : round_(std::make_unique<Round>(session)), exceptions_at_start_(std::uncaught_exceptions()) {
  MPI_Comm copy = MPI_COMM_NULL;
  mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
  round_->comm = MpiComm(copy);
}

AgreedFlags::~AgreedFlags() {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    // Other ranks may not come any more, and MPI may still write here.
    [[maybe_unused]] const Round* left_behind = round_.release();
    return;
  }
  const FlightRecord::Call call(&round_->line, CallKind::kAllReduce, sizeof(Flags), {});
  MPI_Wait(&round_->request, MPI_STATUS_IGNORE);
}

AgreedFlags::Flags AgreedFlags::exchange(Flags mine) {
  static_assert(sizeof(Flags) == 4);
  round_->wait();
  const Flags agreed = std::exchange(round_->all, 0);
  round_->mine = mine;
  mpi_check(MPI_Iallreduce(&round_->mine, &round_->all, 1, MPI_UINT32_T, MPI_BOR,
                           round_->comm.get(), &round_->request),
            "MPI_Iallreduce");
  return agreed;
}

}  // namespace largo::comm
