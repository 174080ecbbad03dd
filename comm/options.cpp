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
}

}  // namespace largo::comm
