// Which device each rank computes on: a decision for all ranks from what each of them sees.
#pragma once

#include <string>
#include <vector>

#include "comm/gpu.h"

namespace largo::comm {

enum class DeviceWish { kAuto, kCpu, kCuda };  // run.device

struct RankView {
  std::string host;
  int local_rank = 0;
  int local_size = 1;
  GpuView view;
};

struct DeviceChoice {
  std::vector<int> gpu;               // by rank: the number of its GPU; empty: all on the CPU
  std::vector<std::string> warnings;  // for rank 0 to say
};

// A pure function, so equal on all ranks. All ranks get the CPU, or each one a GPU:
//   kCpu    the CPU.
//   kAuto   GPUs where any rank sees one, else the CPU.
//   kCuda   GPUs.
// A rank that sees one GPU takes it; one that sees several takes that of its local rank. Throws
// AgreedError{kUnavailable}, naming rank, host, versions and the cure, where a rank cannot have a
// GPU that it should have (none is visible to it, the build has no CUDA, the driver is too old), or
// where two ranks would share one, unless `share_gpu`: then ranks go round the GPUs that there are.
DeviceChoice choose_devices(const std::vector<RankView>& ranks, DeviceWish wish, bool share_gpu);

}  // namespace largo::comm
