// libFuzzer entry: no bytes may make the safetensors reader do anything but read or refuse.
#include <cstdlib>

#include "comm/base/error.h"
#include "trainer/base/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const largo::SafetensorsView view =
        largo::parse_safetensors(std::as_bytes(std::span(data, size)), "input");
    size_t total = 0;
    for (const largo::TensorBytes& tensor : view.tensors) {
      for (const std::byte byte : tensor.bytes) total += static_cast<size_t>(byte) & 1;
    }
    if (total > size) std::abort();
  } catch (const largo::Error& error) {
    if (error.code() != largo::ExitCode::kBadData) std::abort();
  }
  return 0;
}
