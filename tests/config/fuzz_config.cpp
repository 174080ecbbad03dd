// libFuzzer target: any bytes are a configuration or a ConfigError, and a configuration prints to
// one that reads back to the same. Build with clang, -DLARGO_FUZZ=ON -DLARGO_TORCH=OFF and
// -DLARGO_SANITIZE=fuzzer-no-link,address,undefined.
#include <cstdint>
#include <string>

#include "trainer/config/config_print.h"
#include "trainer/config/load.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace largo::config;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try {
    const LoadedConfig config = load_config({"fuzz.yaml", bytes}, {});
    const std::string printed = print_config(config);
    const LoadedConfig again = load_config({"printed.yaml", printed}, {});
    if (!trajectory_differences(config.values, again.values).empty()) __builtin_trap();
  } catch (const ConfigError&) {
  }
  return 0;
}
