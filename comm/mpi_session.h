// MPI, from start to end of the program.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/flight_record.h"
#include "comm/options.h"
#include "comm/watchdog.h"

namespace largo::comm {

// What the MPI library granted: which threads may call it.
enum class ThreadLevel { kFunneled, kSerialized, kMultiple };

const char* to_string(ThreadLevel level);

// First in, last out: every communicator and device object dies before it. One per process.
//
// Construction starts MPI, asking for calls from several threads; what is granted is checked, and
// less than "from the main thread" is Error{kUnavailable}. So is a world of one rank under a
// launcher that started more: the ranks would each train alone. Under a launcher the process dies
// with its parent, so that a killed mpirun or step leaves no ranks behind; started alone it
// outlives its shell.
//
// From the beginning a watchdog looks after the collectives of the session and of the communicators
// that it makes, with the limits of CommOptions' defaults until it is given others. Their waiting
// in vain ends the job with exit code kUnavailable.
//
// Destruction finalizes MPI and may wait for the other ranks; while an exception unwinds it ends
// the whole job instead, because a rank inside a collective would never come to MPI_Finalize.
class MpiSession {
 public:
  // Other ranks may not come: after `init_timeout_s` this process says so and ends with
  // kUnavailable.
  MpiSession(int& argc, char**& argv, double init_timeout_s = CommOptions{}.init_timeout.seconds);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int local_rank() const { return local_rank_; }  // among the ranks of this node
  int local_size() const { return local_size_; }
  const std::string& host() const { return host_; }
  ThreadLevel thread_level() const { return thread_level_; }
  std::string library_version() const;  // one line

  // A collective: the bytes of rank `root`, on every rank.
  std::string broadcast(std::string bytes, int root = 0) const;

  // A collective: the bytes of every rank, in rank order, on every rank.
  std::vector<std::string> all_gather(const std::string& bytes) const;

  // A collective of the ranks of this node.
  std::vector<std::string> node_all_gather(const std::string& bytes) const;

  // All ranks as a communicator of its own, independent of every other. Asynchronous where asked
  // for and granted: its all_reduce then runs on a communication thread, which needs kMultiple
  // because other communicators work meanwhile. Without, every collective blocks the calling
  // thread.
  std::unique_ptr<Communicator> make_communicator(bool asynchronous) const;

  // The same, blocking, with everything left to MPI: what to compare with.
  std::unique_ptr<Communicator> make_plain_mpi_communicator() const;

  // What looks after the ranks: takes limits, a folder for reports, and ways to say things.
  Watchdog& watchdog() const;

  // A sign of life, and what this rank is busy with: others see it while they wait for it.
  void mark(Doing doing, int64_t step) const;

  // What this rank's collectives are recorded in, for communicators that are made elsewhere.
  const std::shared_ptr<FlightRecord>& flight_record() const;

  // Of the ranks of this node; null where they could not get one.
  std::shared_ptr<ProgressBoard> node_board() const;

  // Ends all ranks of the job at once. Safe while unwinding and from any thread.
  [[noreturn]] void abort(int code) const noexcept;

 private:
  struct Handles;  // keeps <mpi.h> out of this header
  struct Watch;

  void start_to_watch();

  std::unique_ptr<Watch> watch_;  // outlives MPI, whose end it watches
  std::unique_ptr<Handles> handles_;
  int exceptions_at_start_;
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  std::string host_;
  ThreadLevel thread_level_ = ThreadLevel::kFunneled;
};

}  // namespace largo::comm
