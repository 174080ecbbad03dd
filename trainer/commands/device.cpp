#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <string>
#include <vector>

#include "comm/affinity.h"
#include "comm/agree.h"
#include "comm/base/error.h"
#include "comm/device_choice.h"
#include "comm/gpu.h"
#include "trainer/commands/setup.h"

namespace largo::commands {

namespace {

std::vector<comm::RankView> all_views(const comm::MpiSession& session, const comm::GpuView& mine) {
  const auto hosts = session.all_gather(session.host());
  const auto places = session.all_gather(std::to_string(session.local_rank()) + " " +
                                         std::to_string(session.local_size()));
  const auto views = session.all_gather(comm::to_bytes(mine));
  std::vector<comm::RankView> ranks;
  for (size_t r = 0; r < views.size(); ++r) {
    ranks.push_back({.host = hosts[r],
                     .local_rank = std::stoi(places[r]),
                     .local_size = std::stoi(places[r].substr(places[r].find(' '))),
                     .view = comm::gpu_view_from_bytes(views[r])});
  }
  return ranks;
}

// Before LibTorch starts its threads, which inherit the place.
void run_near(const comm::Gpu& gpu, const comm::MpiSession& session) {
  const std::string mine = comm::cpu_mask();
  const auto masks = session.node_all_gather(mine);
  const std::string wanted = comm::preferred_cpus(mine, comm::cpus_near(gpu), masks);
  if (wanted != mine) comm::run_on(wanted);  // refused, it only computes further away
}

int set_up_threads(const comm::MpiSession& session, const RunOptions& options) {
  const auto masks = session.node_all_gather(comm::cpu_mask());
  int threads =
      options.threads ? static_cast<int>(*options.threads) : comm::threads_per_rank(masks);
  // The same on all nodes: the number of threads enters the bits.
  if (!options.threads) {
    for (const std::string& of_rank : session.all_gather(std::to_string(threads))) {
      threads = std::min(threads, std::stoi(of_rank));
    }
  }
  at::globalContext().setFlushDenormal(options.process.flush_denormals);
  at::set_num_threads(threads);
  at::set_num_interop_threads(1);
  return threads;
}

void set_up_memory_of(ChosenDevice& chosen, const comm::MpiSession& session,
                      const ProcessOptions& options) {
  comm::on_all_ranks(session,
                     [&] { chosen.memory = set_up_memory(options, chosen.device.is_cpu()); });
}

}  // namespace

ChosenDevice set_up_device(const comm::MpiSession& session, const RunOptions& options, Log& log) {
  const comm::GpuView view =
      options.device == comm::DeviceWish::kCpu ? comm::GpuView{} : comm::view_gpus();
  const comm::DeviceChoice choice =
      comm::choose_devices(all_views(session, view), options.device, options.share_gpu);
  for (const std::string& warning : choice.warnings) log.warn(warning);
  ChosenDevice chosen;
  if (choice.gpu.empty()) {
    set_up_memory_of(chosen, session, options.process);
    chosen.threads = set_up_threads(session, options);
    return chosen;
  }
  const int index = choice.gpu[static_cast<size_t>(session.rank())];
  const comm::Gpu& gpu = view.gpus[static_cast<size_t>(index)];
  run_near(gpu, session);
  chosen.device = torch::Device(torch::kCUDA, static_cast<at::DeviceIndex>(index));
  set_up_memory_of(chosen, session, options.process);
  chosen.threads = set_up_threads(session, options);
  comm::on_all_ranks(session, [&] {
    comm::gpu_libraries();  // that they fit together
    comm::try_gpu(index, view);
  });
  chosen.name = concat("cuda:", index, " ", gpu.name);
  // cuDNN tries its algorithms on each new shape and keeps the fastest.
  at::globalContext().setBenchmarkCuDNN(true);
  at::globalContext().setAllowTF32CuDNN(options.tf32);
  at::globalContext().setAllowTF32CuBLAS(options.tf32);
  return chosen;
}

}  // namespace largo::commands
