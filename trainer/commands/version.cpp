
#include <cstdio>

#include "comm/gpu.h"
#include "trainer/commands/build_info.h"
#include "trainer/commands/commands.h"
#include "trainer/metrics/environment.h"

namespace largo::commands {

int run_version(bool all) {
  std::printf("largo %s%s%s\n", version(), *commit() ? " " : "", commit());
  if (!all) return 0;
  const std::string gpu = comm::gpu_libraries();
  std::printf("build      %s, %s%s\n", build_type(), metrics::compiler().c_str(),
              gpu.empty() ? ", CPU only" : "");
  if (!gpu.empty()) std::printf("GPUs       %s\n", gpu.c_str());
  std::printf("LibTorch   %s\n", metrics::torch_version().c_str());
  std::printf("CPU        %s (%s)\n", metrics::cpu_model().c_str(),
              metrics::cpu_capability().c_str());
  std::printf("loaded libraries\n");
  for (const auto& library : metrics::loaded_libraries()) {
    std::printf("  %s\n", library.path.c_str());
  }
  return 0;
}

}  // namespace largo::commands
