// What several subcommands begin with.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/base/log.h"
#include "comm/base/process_setup.h"
#include "comm/communicator.h"
#include "comm/groups.h"
#include "comm/mpi_session.h"
#include "trainer/batch_plan.h"
#include "trainer/commands/commands.h"
#include "trainer/config/load.h"
#include "trainer/data/batch.h"
#include "trainer/data/catalog.h"
#include "trainer/evaluate.h"
#include "trainer/nn/catalog.h"
#include "trainer/optim/lr_schedule.h"
#include "trainer/optim/rate_schedules.h"

namespace largo::commands {

// The data sets and models that a run file can name.
struct Catalogs {
  data::DataCatalog data;
  nn::ModelCatalog models;
};
Catalogs make_catalogs();

// Reads the file; Error{kInputMissing} where it cannot be.
config::SourceText read_config_file(const std::string& path);

// comm.init_timeout for the start of MPI, before which ranks cannot share the file: as an override
// has it, else the default. What is wrong with it is for load_on_all_ranks() to say.
double init_timeout_s(const std::vector<std::string>& overrides);

// A collective: rank 0 reads, all ranks parse its bytes and make sure that they are the same
// program with the same overrides, which set the watchdog's limits. Errors are AgreedErrors. Rank 0
// says what overrides dropped from the file.
config::LoadedConfig load_on_all_ranks(const comm::MpiSession& session, Log& log,
                                       const ConfigArguments& arguments);

// What this rank computes on.
struct ChosenDevice {
  torch::Device device = torch::kCPU;
  std::string name = "cpu";  // "cuda:0 NVIDIA H100 80GB HBM3"
  int threads = 1;
  MemorySetup memory;
  bool flushes_denormals = false;  // its CPU, as run.flush_denormals wished it
};

// A collective: looks at the GPUs that all ranks see, gives each rank one, or all the CPU
// (comm::choose_devices), moves a rank that the launcher did not bind to the CPUs near its GPU, and
// sets LibTorch's threads from run.threads, or from what is left to each rank, its handling of
// denormal numbers, which threads made later inherit, and the process's use of memory. Makes sure
// that the GPU computes. Throws AgreedError{kUnavailable}. Call it before any tensor is made.
ChosenDevice set_up_device(const comm::MpiSession& session, const RunOptions& options, Log& log);

// A collective: warns where the user asks for run.flush_denormals and CPUs of ranks cannot.
void warn_of_denormals(const comm::MpiSession& session, const config::LoadedConfig& config,
                       const ChosenDevice& device, Log& log);

at::ScalarType dtype_of(Precision precision);     // of parameters
at::ScalarType autocast_of(Precision precision);  // what nn::Autocast takes; kFloat: none

// The sets of a run that live on the device, in up to 2 GiB and an eighth of its free memory; none
// on the CPU, where all do.
std::optional<data::ResidentSets> resident_sets(torch::Device device);

nn::ModelSpec model_spec(const config::LoadedConfig& config, const data::DataInfo& info);

// The bytes that DataCatalog::index() makes.
std::string data_index(const config::LoadedConfig& config, const Catalogs& catalogs, Log& log);

// The same as a collective: rank 0 looks at the files, all ranks get the bytes.
std::string data_index_on_all_ranks(const config::LoadedConfig& config, const Catalogs& catalogs,
                                    const comm::MpiSession& session, Log& log);

// The data sets, as a collective: staged to each node's disk where that was asked for, kept in
// memory where they fit.
data::Datasets load_data(const config::LoadedConfig& config, const Catalogs& catalogs,
                         const std::string& index, const data::DataInfo& info,
                         const comm::MpiSession& session);

// What happens to samples in training and in evaluation.
data::Transform train_transform(const config::LoadedConfig& config, const data::DataInfo& info,
                                const data::Datasets& sets);
data::Transform eval_transform(const config::LoadedConfig& config, const data::DataInfo& info,
                               const data::Datasets& sets);

// What the run's numbers follow from: the data, the plan on `world` ranks, the schedule. Local;
// what is wrong with the options is a ConfigError, with the data an Error.
struct Prepared {
  data::DataInfo info;
  BatchPlan plan;  // under lr.scaling adascale its last step is the latest that may be the last
  optim::ScheduleInputs schedule_inputs;
  optim::LrSchedule schedule;
  optim::OptimizerOptions optimizer;  // the file's, as lr.scaling changes them
  optim::RateSchedules rates;         // of momentum and weight decay, on the schedule's clock
  std::string groups;                 // of the optimizer, in words; empty: none

  // "peak LR 3.2 = 0.1 × 32 (linear, batch 8192 / 256); …": base, factor, peak and why; then what
  // else the optimizer's rates follow, where they do.
  std::string describe_lr(const config::RunConfig& config) const;
  // "1000 steps"; "at most 1000 steps" under adascale, where training says when it is over.
  std::string describe_steps(const config::RunConfig& config) const;
};
Prepared prepare(const config::LoadedConfig& config, const Catalogs& catalogs,
                 const std::string& index, int64_t world);

// On a GPU images of a bfloat16 run are made in bfloat16, which its first convolution reads.
data::Transform for_device(data::Transform transform, torch::Device device, Precision precision);

// Describes the data; what does not fit it is a ConfigError.
data::DataInfo describe_data(const config::LoadedConfig& config, const Catalogs& catalogs,
                             const std::string& index);

// The ranks that this one shares normalization statistics with, ascending; a collective.
std::vector<int> norm_ranks(const nn::NormOptions& options, const comm::MpiSession& session);

// The model with its initial weights, in the run's precision and on its device; the same on every
// rank. A collective.
std::shared_ptr<nn::Model> make_model(const comm::MpiSession& session,
                                      const config::LoadedConfig& config, const Catalogs& catalogs,
                                      const data::DataInfo& info, const comm::Groups& groups,
                                      torch::Device device);

// The one way commands under MPI end: runs `body`, the watchdog speaking through `log`; says what
// it threw, and returns the exit code if all ranks agree on the error, or else ends the whole job.
int guarded(const comm::MpiSession& session, Log& log, const std::function<int()>& body);

}  // namespace largo::commands
