#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "comm/gpu.h"

namespace largo::comm {

bool gpu_support() { return false; }

std::string visible_gpu() {
  if (const char* devices = std::getenv("CUDA_VISIBLE_DEVICES")) {
    const std::string_view named = devices;
    if (named.empty() || named == "-1" || named == "NoDevFiles") return {};
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("nvidia") && name.size() > 6 &&
        name.find_first_not_of("0123456789", 6) == std::string::npos) {
      return entry.path();
    }
  }
  return {};
}

}  // namespace largo::comm
