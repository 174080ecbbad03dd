// GPUs as the CUDA runtime shows them.
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>

#include "comm/base/error.h"
#include "comm/gpu.h"
#include "comm/nccl_backend.h"

namespace largo::comm {

namespace {

// Clears CUDA's copy of the error, so that a later check does not take it for its own.
std::string text_of(cudaError_t code) {
  (void)cudaGetLastError();
  return concat(cudaGetErrorString(code), " (CUDA error ", static_cast<int>(code), ")");
}

std::string uuid_text(const cudaUUID_t& uuid) {
  static constexpr const char* kDigits = "0123456789abcdef";
  std::string text = "GPU-";
  for (size_t i = 0; i < sizeof uuid.bytes; ++i) {
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// The kernel names devices by four digits of domain and in lower case.
int numa_node_of(std::string pci_bus) {
  constexpr size_t kSysfsName = 12;  // "0000:1b:00.0"
  if (pci_bus.size() > kSysfsName) pci_bus.erase(0, pci_bus.size() - kSysfsName);
  std::transform(pci_bus.begin(), pci_bus.end(), pci_bus.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::ifstream file("/sys/bus/pci/devices/" + pci_bus + "/numa_node");
  int node = -1;
  return file >> node ? node : -1;
}

}  // namespace

GpuView view_gpus() {
  GpuView view;
  view.supported = true;
  look_for_device_files(view);
  // Neither fails without a driver; the driver's version is then 0.
  if (cudaDriverGetVersion(&view.driver) != cudaSuccess) view.driver = 0;
  if (cudaRuntimeGetVersion(&view.runtime) != cudaSuccess) view.runtime = 0;
  (void)cudaGetLastError();
  int count = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&count); code != cudaSuccess) {
    view.trouble = text_of(code);
    return view;
  }
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    std::array<char, 32> bus{};
    cudaError_t code = cudaGetDeviceProperties(&properties, device);
    if (code == cudaSuccess) {
      code = cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), device);
    }
    if (code != cudaSuccess) {
      view.trouble = concat("GPU ", device, ": ", text_of(code));
      view.gpus.clear();
      return view;
    }
    view.gpus.push_back({.name = properties.name,
                         .uuid = uuid_text(properties.uuid),
                         .pci_bus = bus.data(),
                         .capability = properties.major * 10 + properties.minor,
                         .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem),
                         .numa_node = numa_node_of(bus.data())});
  }
  return view;
}

void try_gpu(int index, const GpuView& view) {
  const Gpu& gpu = view.gpus.at(static_cast<size_t>(index));
  try {
    const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(index));
    if (const cudaError_t code = cudaSetDevice(index); code != cudaSuccess) {
      fail(ExitCode::kUnavailable, text_of(code));
    }
    const double two = at::ones({}, at::TensorOptions(device)).mul_(2).item<double>();
    if (two != 2) fail(ExitCode::kUnavailable, "it computes 1 x 2 = ", two);
  } catch (const std::exception& error) {
    std::string what = error.what();
    fail(ExitCode::kUnavailable, "GPU ", index, ", ", gpu.name, " (compute capability ",
         gpu.capability / 10, ".", gpu.capability % 10, ", ", gpu.uuid,
         "), cannot be used: ", what.substr(0, what.find('\n')), ". The driver knows CUDA up to ",
         cuda_version_text(view.driver), ", this build runs on ", cuda_version_text(view.runtime),
         "; a LibTorch that has code for this GPU can be named by TORCH_ROOT");
  }
}

std::string gpu_libraries() {
  int driver = 0;
  int runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
  (void)cudaGetLastError();
  if (runtime / 1000 != CUDART_VERSION / 1000) {
    fail(ExitCode::kUnavailable, "the CUDA runtime that is loaded is ", cuda_version_text(runtime),
         ", and Largo was built against ", cuda_version_text(CUDART_VERSION),
         " (largo version --all names the file)");
  }
  return concat("CUDA ", cuda_version_text(runtime), " (built against ",
                cuda_version_text(CUDART_VERSION), ", driver ",
                driver == 0 ? std::string("none") : cuda_version_text(driver), "), cuDNN ",
                at::detail::getCUDAHooks().versionRuntimeCuDNN(), ", ", nccl_versions());
}

}  // namespace largo::comm
