#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "comm/affinity.h"
#include "comm/agree.h"
#include "comm/agreement.h"
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
  // The number of threads enters the bits: the same on all nodes, or at every number of ranks.
  if (!options.threads && options.determinism == Determinism::kWorldSize) {
    threads = 1;
  } else if (!options.threads) {
    for (const std::string& of_rank : session.all_gather(std::to_string(threads))) {
      threads = std::min(threads, std::stoi(of_rank));
    }
  }
  at::set_num_threads(threads);
  at::set_num_interop_threads(1);
  return threads;
}

void set_up_process(ChosenDevice& chosen, const comm::MpiSession& session,
                    const RunOptions& options) {
  comm::on_all_ranks(
      session, [&] { chosen.memory = set_up_memory(options.process, chosen.device.is_cpu()); });
  const bool wished = options.process.flush_denormals;
  chosen.flushes_denormals = at::globalContext().setFlushDenormal(wished) && wished;
  chosen.threads = set_up_threads(session, options);
}

// What the environment says stays, if the promise can be kept with it.
void set_variable(const char* name, const std::vector<std::string>& legal) {
  const char* const given = std::getenv(name);
  if (given == nullptr) {
    if (setenv(name, legal.front().c_str(), /*overwrite=*/0) != 0) {
      fail(ExitCode::kUnavailable, "setenv ", name, "=", legal.front());
    }
  } else if (std::find(legal.begin(), legal.end(), given) == legal.end()) {
    fail(ExitCode::kConfig, "run.determinism: run needs ", name, "=", legal.front(),
         ", and the environment says ", given);
  }
}

// Before cuBLAS and NCCL read the environment. LibTorch then refuses kernels whose bits vary.
void make_gpu_deterministic() {
  set_variable("CUBLAS_WORKSPACE_CONFIG", {":4096:8", ":16:8"});
  set_variable("NCCL_NVLS_ENABLE", {"0"});  // sums in the switch vary from call to call
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);
  context.setDeterministicCuDNN(true);
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
    set_up_process(chosen, session, options);
    return chosen;
  }
  const int index = choice.gpu[static_cast<size_t>(session.rank())];
  const comm::Gpu& gpu = view.gpus[static_cast<size_t>(index)];
  run_near(gpu, session);
  chosen.device = torch::Device(torch::kCUDA, static_cast<at::DeviceIndex>(index));
  set_up_process(chosen, session, options);
  const bool deterministic = options.determinism == Determinism::kRun;
  comm::on_all_ranks(session, [&] {
    if (deterministic) make_gpu_deterministic();
    comm::gpu_libraries();  // that they fit together
    comm::try_gpu(index, view);
  });
  chosen.name = concat("cuda:", index, " ", gpu.name);
  // cuDNN tries its algorithms on each new shape and keeps the fastest, which may vary.
  at::globalContext().setBenchmarkCuDNN(!deterministic);
  at::globalContext().setAllowTF32CuDNN(options.tf32);
  at::globalContext().setAllowTF32CuBLAS(options.tf32);
  return chosen;
}

void warn_of_denormals(const comm::MpiSession& session, const config::LoadedConfig& config,
                       const ChosenDevice& device, Log& log) {
  const std::string key = "run.flush_denormals";
  const bool is_asked_for = config.values.run.process.flush_denormals &&
                            config.provenance.of(key).kind != config::Origin::Kind::kDefault;
  const auto granted = session.all_gather(device.flushes_denormals ? "1" : "0");
  std::vector<int> refusing;
  refusing.reserve(granted.size());
  for (size_t rank = 0; rank < granted.size(); ++rank) {
    if (granted[rank] == "0") refusing.push_back(static_cast<int>(rank));
  }
  if (!is_asked_for || refusing.empty()) return;
  log.warn(concat(key, " is true, and the processor of rank", refusing.size() == 1 ? " " : "s ",
                  comm::number_ranges(refusing),
                  " cannot: numbers too small for the usual form stay as they are there, and are "
                  "slow to compute with"));
}

}  // namespace largo::commands
