// What a process can see of GPUs, in any build: looked at on each rank, judged for all of them by
// device_choice.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace largo::comm {

struct Gpu {
  std::string name;     // "NVIDIA H100 80GB HBM3"
  std::string uuid;     // of the device, the same in every process: "GPU-0a1b…"
  std::string pci_bus;  // "0000:1b:00.0"
  int capability = 0;   // 90: compute capability 9.0
  int64_t memory_bytes = 0;
  int numa_node = -1;  // of the host; -1: not known

  friend bool operator==(const Gpu&, const Gpu&) = default;
};

struct GpuView {
  bool supported = false;   // this build can compute on GPUs
  std::string device_file;  // "/dev/nvidia0": a GPU that this process may open; empty: none
  std::string hidden_by;    // "CUDA_VISIBLE_DEVICES=": why none is looked for; empty: nothing
  int driver = 0;           // newest CUDA that the driver knows: 13000; 0: there is no driver
  int runtime = 0;          // CUDA that this build runs on: 13000; 0: none
  std::vector<Gpu> gpus;    // usable ones, in CUDA's order
  std::string trouble;      // what CUDA answered where it shows none

  friend bool operator==(const GpuView&, const GpuView&) = default;
};

// Starts no context on any GPU. Never throws for what it finds.
GpuView view_gpus();

// Makes GPU `index` the calling thread's, computes one number on it and reads it back. Throws
// Error{kUnavailable} naming the GPU, what went wrong and the versions: a driver too old for the
// build, a GPU that the build has no code for, one that is broken or in exclusive use.
void try_gpu(int index, const GpuView& view);

// The CUDA, NCCL and cuDNN versions that this build was made with and those loaded now, in a line;
// empty in builds without GPUs. Throws Error{kUnavailable} where they do not fit together.
std::string gpu_libraries();

// "13.0" of 13000.
std::string cuda_version_text(int version);

// The file and hidden_by parts of a view.
void look_for_device_files(GpuView& view);

// The CPUs near a GPU, as cpu_mask() writes them; empty where the system does not say.
std::string cpus_near(const Gpu& gpu);

std::string to_bytes(const GpuView& view);
GpuView gpu_view_from_bytes(const std::string& bytes);

}  // namespace largo::comm
