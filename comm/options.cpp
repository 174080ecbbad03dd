#include "comm/options.h"

namespace largo::comm {

void declare_options(OptionTable& table, CommOptions& options) {
  table.add_choice<Backend>(
      "comm.backend", options.backend,
      {{"auto", Backend::kAuto}, {"mpi", Backend::kMpi}, {"nccl", Backend::kNccl}},
      {.description = "library that reduces gradients; auto: nccl on GPUs, mpi on CPUs",
       .effect = Effect::kSpeed});
  table.add("comm.bucket_bytes", options.bucket_bytes, at_least<int64_t>(1024),
            {.description = "gradients are reduced together until a bucket holds so much",
             .effect = Effect::kSpeed,
             .unit = "bytes"});
  table.add("comm.first_bucket_bytes", options.first_bucket_bytes, at_least<int64_t>(1024),
            {.description = "size of the first bucket, whose reduction starts earliest",
             .effect = Effect::kSpeed,
             .unit = "bytes"});
  table.add_choice<Overlap>(
      "comm.overlap", options.overlap,
      {{"auto", Overlap::kAuto}, {"on", Overlap::kOn}, {"off", Overlap::kOff}},
      {.description =
           "reduce buckets while backward still runs; auto: off where all ranks are on one "
           "node with one thread each, which gains nothing",
       .effect = Effect::kSpeed});
  table.add_choice<WireType>(
      "comm.dtype", options.dtype,
      {{"float32", WireType::kFloat32}, {"bfloat16", WireType::kBfloat16}},
      {.description = "of gradients while ranks sum them; bfloat16 halves the traffic; NCCL then "
                      "rounds at every hop, hosts round once per node and once between nodes"});
  table.add_choice<NormCommunicator>(
      "comm.norm_communicator", options.norm_communicator,
      {{"shared", NormCommunicator::kShared}, {"own", NormCommunicator::kOwn}},
      {.description = "whether sync_batch over all GPUs uses the NCCL communicator of the "
                      "gradients or one of its own",
       .effect = Effect::kSpeed});
  table.add("comm.verify_steps", options.verify_steps, at_least<int64_t>(0),
            {.description = "first steps whose NCCL sums are made again through MPI on the host "
                            "and compared",
             .effect = Effect::kOutput,
             .unit = "steps"});
  const Range<Time> some_time = {"> 0s", [](const Time& t) { return t.seconds > 0; }};
  table.add(
      "comm.timeout", options.timeout, some_time,
      {.description = "how long ranks wait in a collective, none of them showing a sign of life, "
                      "before the run is ended; a tenth of it is warned of",
       .effect = Effect::kOutput});
  table.add(
      "comm.init_timeout", options.init_timeout, some_time,
      {.description = "the same where a rank may take long: at the start, where communicators are "
                      "made, in the first step, in evaluations and checkpoints",
       .effect = Effect::kOutput});
}

std::vector<OptionProblem> check(const CommOptions& options, bool on_gpus) {
  std::vector<OptionProblem> problems;
  if (on_gpus) return problems;
  if (options.backend == Backend::kNccl) {
    problems.push_back({"comm.backend",
                        "nccl works on GPUs, and this run is on the CPU "
                        "(run.device); legal here: auto, mpi"});
  }
  return problems;
}

}  // namespace largo::comm
