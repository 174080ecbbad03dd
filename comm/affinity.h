// How many threads each rank may use.
#pragma once

#include <string>
#include <vector>

namespace largo::comm {

// The CPUs that this process may run on, as a string of '0' and '1', one per CPU number.
std::string cpu_mask();

// Threads per rank for the ranks of one node, given each one's mask: every CPU is shared out evenly
// among the ranks that may run on it. The same for all: the smallest share, at least 1. So ranks
// bound to cores of their own use all of those, and unbound ranks share the node.
int threads_per_rank(const std::vector<std::string>& masks);

}  // namespace largo::comm
