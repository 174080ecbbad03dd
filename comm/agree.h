// Errors of single ranks made errors of all, where no collective is under way.
#pragma once

#include <functional>
#include <vector>

#include "comm/agreement.h"
#include "comm/mpi_session.h"

namespace largo::comm {

// A collective: runs `local`, which must contain no collective, on every rank. If it threw
// anywhere, every rank throws an AgreedError with the message and exit code of the lowest such
// rank, naming that rank and host unless all ranks failed alike. So bad input ends the job in
// order, without a rank that waits for another.
void on_all_ranks(const MpiSession& session, const std::function<void()>& local);

// The same, with `local` run on rank 0 only: what one rank does for all.
void on_rank_zero(const MpiSession& session, const std::function<void()>& local);

// A collective: throws AgreedError, on every rank, with what find_disagreement() says of `facts`.
// Where all agree, eight bytes per rank travel.
void agree_on(const MpiSession& session, const std::vector<Fact>& facts);

}  // namespace largo::comm
