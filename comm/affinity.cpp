#include "comm/affinity.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <memory>
#include <sstream>

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

std::string mask_of_list(const std::string& list) {
  constexpr int kMostCpus = 1 << 20;
  std::string mask;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) {
    const char* const end = part.data() + part.size();
    int first = -1;
    auto [stop, error] = std::from_chars(part.data(), end, first);
    int last = first;
    if (error == std::errc() && stop != end && *stop == '-') {
      const auto upto = std::from_chars(stop + 1, end, last);
      stop = upto.ptr;
      error = upto.ec;
    }
    if (error != std::errc() || stop != end || first < 0 || last < first || last >= kMostCpus) {
      return {};
    }
    mask.resize(std::max(mask.size(), static_cast<size_t>(last) + 1), '0');
    std::fill(mask.begin() + first, mask.begin() + last + 1, '1');
  }
  return mask;
}

std::string cpus_of_numa_node(int node) {
  std::ifstream file("/sys/devices/system/node/node" + std::to_string(node) + "/cpulist");
  std::string list;
  return std::getline(file, list) ? mask_of_list(list) : std::string();
}

std::string preferred_cpus(const std::string& mine, const std::string& near,
                           const std::vector<std::string>& masks) {
  const auto is_mine = [&](const std::string& mask) { return mask == mine; };
  if (!std::all_of(masks.begin(), masks.end(), is_mine)) return mine;
  std::string both(std::min(mine.size(), near.size()), '0');
  for (size_t cpu = 0; cpu < both.size(); ++cpu) {
    if (mine[cpu] == '1' && near[cpu] == '1') both[cpu] = '1';
  }
  both.resize(both.find_last_of('1') + 1);  // npos + 1 is 0
  return both.empty() ? mine : both;
}

bool run_on(const std::string& mask) {
  const auto free_set = [](cpu_set_t* set) { CPU_FREE(set); };
  const int cpus = std::max(1024, static_cast<int>(mask.size()));
  const std::unique_ptr<cpu_set_t, decltype(free_set)> set(CPU_ALLOC(cpus), free_set);
  if (!set) return false;
  const size_t bytes = CPU_ALLOC_SIZE(cpus);
  CPU_ZERO_S(bytes, set.get());
  for (size_t cpu = 0; cpu < mask.size(); ++cpu) {
    if (mask[cpu] == '1') CPU_SET_S(cpu, bytes, set.get());
  }
  return sched_setaffinity(0, bytes, set.get()) == 0;
}

}  // namespace largo::comm
