// On what a result was computed.
#pragma once

#include <string>
#include <vector>

namespace largo::metrics {

struct LoadedLibrary {
  std::string name;  // "libtorch_cpu.so"
  std::string path;  // of the file, links followed
};

// The shared libraries that this process has really loaded, in the loader's order. The C library's
// own parts and the plug-ins of Open MPI are left out.
std::vector<LoadedLibrary> loaded_libraries();

std::string torch_version();  // of the headers that Largo was compiled with
std::string compiler();       // "g++ 12.2.0"
std::string cpu_model();  // "Intel(R) Xeon(R) …"; the machine's architecture where it has no name
// The instruction set that ATen's kernels use, "AVX2" or "AVX512", and oneDNN's limit where the
// environment sets one.
std::string cpu_capability();

struct RankEnvironment {
  std::string host = {};
  std::string device = {};  // "cpu", "cuda:0 NVIDIA H100"
  int threads = 1;
  std::string memory = {};       // "malloc tuned, huge pages on"
  bool flush_denormals = false;  // done, not wished
};

// What the caller knows; the rest is this process's.
struct RunEnvironment {
  std::string version = {};  // Largo's
  std::string commit = {};   // empty: not known
  std::string build_type = {};
  std::string mpi = {};  // the library's own version text
  std::string gpu = {};  // CUDA, cuDNN and NCCL; empty: a build without
  std::vector<std::string> command_line = {};
  bool flush_denormals = false;             // by this process's CPU: done, not wished
  std::string precision = {};               // "bfloat16: …", and why, where a probe decided
  std::vector<RankEnvironment> ranks = {};  // by rank
};

// The text of environment.json. Of the environment variables only those that steer Largo, MPI,
// NCCL, threads or the loader are written, never all: others may hold secrets.
std::string to_json(const RunEnvironment& environment);

}  // namespace largo::metrics
