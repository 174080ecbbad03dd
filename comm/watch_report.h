// What a rank that waits makes of what it sees of the others. Pure: no clock, no threads.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/flight_record.h"

namespace largo::comm {

struct WatchLimits {
  double timeout_s = 600;       // without a sign of life from any rank of a collective
  double init_timeout_s = 900;  // the same while a rank does what may take long (may_take_long)
};

// One rank of a collective, as it is seen by a rank that waits in it.
struct RankSeen {
  int rank = 0;
  std::string host = {};
  bool known = false;  // false: on another node, and no word from it; what follows is then nothing
  Doing doing = Doing::kStarting;
  int64_t step = 0;
  double silent_s = 0;      // since its last sign of life
  bool line_known = false;  // false: it has not made the line yet
  bool line_lost = false;   // it has made so many that nothing is known of this one
  uint64_t begun = 0;       // on the line in question
  uint64_t done = 0;
  uint64_t what = 0;              // of the call that it is in, if it is in one (FlightRecord::pack)
  const char* trouble = nullptr;  // what the system says of its process (trouble_of); null: nothing
};

// How near a wait is to its end: 1 when no rank of the collective has shown a sign of life for as
// long as what it is doing may take. A rank that is slow, but goes on, keeps this low. No silence
// counts for longer than `watched_s`, for which this process has run without a stop.
double patience_used(double waited_s, double watched_s, Doing own,
                     const std::vector<RankSeen>& ranks, const WatchLimits& limits);

// "all_reduce of 4000 bytes (bucket 3), #17 on world, in step 5"
std::string name_of(const FlightRecord::Waiting& waiting);

// Who has come, who has not and what those do instead: "arrived: ranks 0, 2 on a; missing: rank 1
// on a, which waits for data in step 5 (last sign of life 610 s ago)". At most 16 are named.
std::string describe_ranks(const FlightRecord::Waiting& waiting,
                           const std::vector<RankSeen>& ranks);

// One rank's word for ranks of other nodes, and back; nothing for what is no such word.
struct RankWord {
  int rank = 0;
  Doing doing = Doing::kStarting;
  int64_t step = 0;
  double silent_s = 0;
  std::vector<FlightRecord::Position> lines = {};  // without names
};
std::string to_text(const RankWord& word);
std::optional<RankWord> word_from_text(const std::string& text);

}  // namespace largo::comm
