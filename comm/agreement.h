// What must be the same on all ranks, and what to say where it is not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/base/error.h"

namespace largo::comm {

// One thing that all ranks must hold alike: "run.seed" is "1". `code` ends the run where they do
// not.
struct Fact {
  std::string what;
  std::string value;
  ExitCode code = ExitCode::kInternal;
};

struct RankFacts {
  std::string host;
  std::vector<Fact> facts;  // each `what` once
};

struct Disagreement {
  ExitCode code = ExitCode::kInternal;  // of the first difference, in the order of rank 0's facts
  std::string message;
};

// The differences, or nothing. Every one is named with the ranks, their hosts and the values:
// "run.seed: ranks 0-3 on a, b: 1; rank 4 on c: 2". Facts that only some ranks have are "absent" on
// the others. At most 12 are listed.
std::optional<Disagreement> find_disagreement(const std::vector<RankFacts>& ranks);

// "0-3, 7"; ascending numbers.
std::string number_ranges(const std::vector<int>& numbers);

std::string to_bytes(const std::vector<Fact>& facts);
std::vector<Fact> facts_from_bytes(const std::string& bytes);

}  // namespace largo::comm
