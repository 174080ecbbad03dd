// Collectives of GPU memory by way of the host.
#pragma once

#include <memory>

#include "comm/communicator.h"

namespace largo::comm {

// What `host`, a communicator of CPU memory, does, for tensors on `device` too: they are copied to
// the host, reduced there and copied back, and the host waits for each step. Slow, and free of any
// library for GPUs: a run that is right with it and wrong with NCCL shows where the trouble lies.
// Tensors on the CPU go straight through. allocate() gives memory of the device.
std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> host,
                                                       at::Device device);

}  // namespace largo::comm
