#include "comm/affinity.h"

#include <sched.h>

#include <algorithm>
#include <memory>

namespace largo::comm {

std::string cpu_mask() {
  // The kernel refuses masks smaller than its own.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    const auto free_set = [](cpu_set_t* set) { CPU_FREE(set); };
    const std::unique_ptr<cpu_set_t, decltype(free_set)> set(CPU_ALLOC(cpus), free_set);
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    if (!set || sched_getaffinity(0, bytes, set.get()) != 0) continue;
    std::string mask;
    for (int cpu = 0; cpu < cpus; ++cpu) mask += CPU_ISSET_S(cpu, bytes, set.get()) ? '1' : '0';
    mask.resize(mask.find_last_of('1') + 1);
    return mask;
  }
  return "1";
}

int threads_per_rank(const std::vector<std::string>& masks) {
  std::vector<int> sharers;  // by CPU
  for (const std::string& mask : masks) {
    sharers.resize(std::max(sharers.size(), mask.size()), 0);
    for (size_t cpu = 0; cpu < mask.size(); ++cpu) sharers[cpu] += mask[cpu] == '1';
  }
  double smallest = 1e9;
  for (const std::string& mask : masks) {
    double share = 0;
    for (size_t cpu = 0; cpu < mask.size(); ++cpu) {
      if (mask[cpu] == '1') share += 1.0 / sharers[cpu];
    }
    smallest = std::min(smallest, share);
  }
  return std::max(1, static_cast<int>(smallest + 1e-9));
}

}  // namespace largo::comm
