// What this build can do with GPUs; another source file in builds that have them.
#pragma once

#include <string>

namespace largo::comm {

// Whether this build can compute on GPUs.
bool gpu_support();

// A GPU that this process could see ("/dev/nvidia0"), whether or not this build can use it; empty:
// none. CUDA_VISIBLE_DEVICES set to nothing or to -1 hides them all.
std::string visible_gpu();

}  // namespace largo::comm
