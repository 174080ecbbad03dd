// That all ranks were started alike, found out before they do anything together.
#pragma once

#include "comm/mpi_session.h"
#include "trainer/commands/setup.h"
#include "trainer/config/load.h"
#include "trainer/nn/model.h"

namespace largo::commands {

// Each a collective that throws an AgreedError where ranks differ, with the ranks, their hosts and
// what each has (comm::find_disagreement).

// The program and its libraries as they are loaded (kInternal), and all of the configuration but
// paths, which may differ between hosts (kConfig): command lines and files can differ by rank.
void agree_on_program(const comm::MpiSession& session, const config::LoadedConfig& config);

// The data behind the paths (kBadData): its size, and samples of its files' bytes; and on CPUs the
// instruction set of LibTorch's kernels (kInternal), because every rank updates the weights itself.
void agree_on_data(const comm::MpiSession& session, const config::LoadedConfig& config,
                   const Catalogs& catalogs, const std::string& index, const data::DataInfo& info,
                   torch::Device device);

// Names, shapes and types of parameters and buffers (kInternal).
void agree_on_parameters(const comm::MpiSession& session, const nn::Model& model);

}  // namespace largo::commands
