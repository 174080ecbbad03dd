#include "trainer/metrics/environment.h"

#include <ATen/Version.h>
#include <link.h>
#include <sys/utsname.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

namespace largo::metrics {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kVariables = {"OMP_",       "OMPI_MCA_",     "OMPI_COMM_WORLD_",
                                   "SLURM_",     "NCCL_",         "MKL_",
                                   "ONEDNN_",    "DNNL_",         "ATEN_",
                                   "LARGO_",     "PMIX_RANK",     "CUDA_VISIBLE_DEVICES",
                                   "KMP_",       "GOMP_",         "LD_LIBRARY_PATH",
                                   "LD_PRELOAD", "GLIBC_TUNABLES"};

#ifdef __clang__
constexpr const char* kCompiler = __VERSION__;  // "Debian Clang 14.0.6"
#else
constexpr const char* kCompiler = "g++ " __VERSION__;
#endif

// Slurm hands out job secrets and whole scripts beside the numbers.
bool is_secret(std::string_view name) {
  for (const char* part : {"TOKEN", "SECRET", "PASSWORD", "KEY", "JWT"}) {
    if (name.find(part) != std::string_view::npos) return true;
  }
  return false;
}

Json selected_variables() {
  Json variables = Json::object();
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view line = *entry;
    const std::string_view name = line.substr(0, line.find('='));
    if (is_secret(name) || name.size() == line.size()) continue;
    for (const std::string_view prefix : kVariables) {
      if (name.starts_with(prefix)) {
        variables[std::string(name)] = std::string(line.substr(name.size() + 1));
        break;
      }
    }
  }
  return variables;
}

bool is_left_out(const std::string& name) {
  for (const char* prefix : {"mca_", "libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so",
                             "libutil.so", "ld-linux", "linux-vdso"}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

std::string local_date() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  localtime_r(&now, &parts);
  char buffer[40];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S%z", &parts);
  return buffer;
}

}  // namespace

std::vector<LoadedLibrary> loaded_libraries() {
  std::vector<LoadedLibrary> libraries;
  const auto visit = [](dl_phdr_info* info, size_t, void* data) {
    const std::filesystem::path given = info->dlpi_name ? info->dlpi_name : "";
    const std::string name = given.filename().string();
    if (!given.has_parent_path() || is_left_out(name)) return 0;  // the program, the vdso
    std::error_code unknown;
    const auto real = std::filesystem::canonical(given, unknown);
    static_cast<std::vector<LoadedLibrary>*>(data)->push_back(
        {name, unknown ? given.string() : real.string()});
    return 0;
  };
  dl_iterate_phdr(visit, &libraries);
  return libraries;
}

std::string torch_version() { return TORCH_VERSION; }

std::string compiler() { return kCompiler; }

std::string cpu_model() {
  std::ifstream lines("/proc/cpuinfo");
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  utsname machine{};
  return uname(&machine) == 0 ? machine.machine : "unknown";
}

std::string cpu_capability() {
  std::string capability = at::get_cpu_capability();
  for (const char* const variable : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}) {
    const char* const limit = std::getenv(variable);
    if (limit != nullptr) capability.append(", ").append(variable).append("=").append(limit);
  }
  return capability;
}

std::string to_json(const RunEnvironment& environment) {
  Json libraries = Json::object();
  for (const auto& [name, path] : loaded_libraries()) libraries[name] = path;
  Json ranks = Json::array();
  for (const RankEnvironment& rank : environment.ranks) {
    ranks.push_back({{"host", rank.host},
                     {"device", rank.device},
                     {"threads", rank.threads},
                     {"memory", rank.memory},
                     {"flush_denormals", rank.flush_denormals}});
  }
  const Json json = {
      {"date", local_date()},
      {"largo",
       {{"version", environment.version},
        {"commit", environment.commit.empty() ? Json() : Json(environment.commit)},
        {"compiler", compiler()},
        {"build_type", environment.build_type}}},
      {"libtorch", torch_version()},
      {"mpi", environment.mpi},
      {"gpu", environment.gpu.empty() ? Json() : Json(environment.gpu)},
      {"cpu",
       {{"model", cpu_model()},
        {"capability", cpu_capability()},
        {"flush_denormals", environment.flush_denormals}}},
      {"precision", environment.precision},
      {"command_line", environment.command_line},
      {"ranks", ranks},
      {"variables", selected_variables()},
      {"libraries", libraries},
  };
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace largo::metrics
