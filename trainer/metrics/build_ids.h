// Which build of the program and of its libraries runs here.
#pragma once

#include <string>
#include <vector>

namespace largo::metrics {

struct LoadedBuild {
  std::string name;  // "largo" for the program, "libtorch_cpu.so" (without versions) for others
  std::string id;    // the linker's build id in hexadecimal; where it wrote none, the file's size
};

// The program, and those of its loaded libraries that results depend on: LibTorch's, MPI's, those
// for GPUs and for threads, and the readers of files. The rest (the system's, drivers, plug-ins)
// may differ between hosts without harm. Sorted by name; a library that is loaded twice has both
// ids.
std::vector<LoadedBuild> loaded_builds();

}  // namespace largo::metrics
