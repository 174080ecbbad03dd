#include "trainer/determinism.h"

namespace largo {

std::vector<OptionProblem> check_determinism(const RunOptions& run, const TrainOptions& train,
                                             const nn::NormOptions& norm,
                                             const comm::CommOptions& comm) {
  std::vector<OptionProblem> problems;
  if (run.determinism != Determinism::kNone && train.precision == Precision::kAuto) {
    problems.push_back(
        {"train.precision",
         concat("auto takes what is faster when the run starts, and run.determinism: ",
                run.determinism == Determinism::kRun ? "run" : "world_size",
                " is for the same bits every time; legal beside it: float32, bfloat16, float64")});
  }
  if (run.determinism != Determinism::kWorldSize) return problems;
  if (norm.kind == nn::NormKind::kSyncBatch) {
    problems.push_back({"model.norm.kind",
                        "sync_batch sums statistics over whatever samples are on the ranks, and "
                        "run.determinism: world_size keeps virtual workers apart; legal: batch "
                        "(the statistics of one virtual worker), ghost_batch, or kinds without "
                        "statistics of batches"});
  }
  if (comm.dtype != comm::WireType::kFloat32) {
    problems.push_back({"comm.dtype",
                        "bfloat16 rounds sums where they go from rank to rank, so their bits "
                        "would depend on the ranks; legal under run.determinism: world_size: "
                        "float32"});
  }
  return problems;
}

std::vector<OptionProblem> check_determinism_on(const RunOptions& run, bool on_gpus) {
  if (!on_gpus || run.determinism != Determinism::kWorldSize) return {};
  return {{"run.determinism",
           "world_size is for CPUs, and this run is on GPUs; legal here: none, run, or run.device: "
           "cpu"}};
}

int64_t virtual_workers(const RunOptions& run) {
  return run.determinism == Determinism::kWorldSize ? run.virtual_workers : 0;
}

}  // namespace largo
