// Wishes that any rank may have and that all ranks learn at the same step.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/mpi_session.h"

namespace largo::comm {

// A tiny reduction over all ranks, started at one step and read two steps later; nothing is read
// from a GPU. What follows from it is decided alike everywhere, at the same step: to write a
// checkpoint by the clock of one rank, to stop because one rank got a signal.
//
// A rank waits here for one that is late by more than a step; with many ranks for one that is late
// at all, as MPI passes a reduction of several rounds on only while it is called: each exchange
// does that for the two that are under way.
//
// From one thread; other communicators may be at work meanwhile. Ranks must all destroy it after as
// many exchanges, or none.
class AgreedFlags {
 public:
  using Flags = uint32_t;  // one bit per wish

  // A collective.
  explicit AgreedFlags(const MpiSession& session);
  AgreedFlags(const AgreedFlags&) = delete;
  AgreedFlags& operator=(const AgreedFlags&) = delete;
  ~AgreedFlags();

  // Exchanges from a wish to its answer.
  static constexpr int kLag = 2;

  // Once per step on every rank. Takes this rank's wishes, and returns those that any rank had
  // kLag exchanges before; none at the first.
  Flags exchange(Flags mine);

 private:
  struct Rounds;  // keeps <mpi.h> out of this header

  std::unique_ptr<Rounds> rounds_;
  int exceptions_at_start_;
};

}  // namespace largo::comm
