#include "comm/gpu.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>

#include "comm/affinity.h"
#include "comm/base/error.h"

namespace largo::comm {

std::string cuda_version_text(int version) {
  return concat(version / 1000, ".", version % 1000 / 10);
}

void look_for_device_files(GpuView& view) {
  if (const char* devices = std::getenv("CUDA_VISIBLE_DEVICES")) {
    const std::string_view named = devices;
    if (named.empty() || named == "-1" || named == "NoDevFiles") {
      view.hidden_by = concat("CUDA_VISIBLE_DEVICES=", named);
      return;
    }
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("nvidia") && name.size() > 6 &&
        name.find_first_not_of("0123456789", 6) == std::string::npos &&
        access(entry.path().c_str(), R_OK | W_OK) == 0) {  // a batch system's cgroup may forbid it
      if (view.device_file.empty() || entry.path() < view.device_file) {
        view.device_file = entry.path();
      }
    }
  }
}

std::string cpus_near(const Gpu& gpu) {
  return gpu.numa_node < 0 ? std::string() : cpus_of_numa_node(gpu.numa_node);
}

// One field a line; texts come from drivers and may hold no newline.
std::string to_bytes(const GpuView& view) {
  std::ostringstream out;
  const auto line = [&out](const std::string& text) {
    for (const char c : text) out << (c == '\n' ? ' ' : c);
    out << '\n';
  };
  out << view.supported << '\n';
  line(view.device_file);
  line(view.hidden_by);
  out << view.driver << '\n' << view.runtime << '\n';
  line(view.trouble);
  for (const Gpu& gpu : view.gpus) {
    line(gpu.name);
    line(gpu.uuid);
    line(gpu.pci_bus);
    out << gpu.capability << '\n' << gpu.memory_bytes << '\n' << gpu.numa_node << '\n';
  }
  return out.str();
}

GpuView gpu_view_from_bytes(const std::string& bytes) {
  std::istringstream in(bytes);
  GpuView view;
  std::string text;
  const auto line = [&in, &text] {
    LARGO_CHECK(std::getline(in, text), "the description of a GPU ends early");
    return text;
  };
  view.supported = line() == "1";
  view.device_file = line();
  view.hidden_by = line();
  view.driver = std::stoi(line());
  view.runtime = std::stoi(line());
  view.trouble = line();
  while (in.peek() != std::istringstream::traits_type::eof()) {
    Gpu gpu;
    gpu.name = line();
    gpu.uuid = line();
    gpu.pci_bus = line();
    gpu.capability = std::stoi(line());
    gpu.memory_bytes = std::stoll(line());
    gpu.numa_node = std::stoi(line());
    view.gpus.push_back(gpu);
  }
  return view;
}

}  // namespace largo::comm
