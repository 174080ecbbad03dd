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

// The CPUs of a NUMA node, written as cpu_mask() does; empty where the system does not say.
std::string cpus_of_numa_node(int node);

// "0-3,8" as a mask; empty for what is not such a list.
std::string mask_of_list(const std::string& list);

// Where a rank should run so that its memory is near its GPU: the CPUs of `mine` that are also
// `near`, if there are any and if the launcher left placing to us: it bound no rank of the node
// (`masks`), all may run everywhere. Else `mine`.
std::string preferred_cpus(const std::string& mine, const std::string& near,
                           const std::vector<std::string>& masks);

// Keeps the calling thread, and threads that it starts later, on these CPUs. False where the system
// refuses.
bool run_on(const std::string& mask);

}  // namespace largo::comm
