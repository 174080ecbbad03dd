// Any bytes are CIFAR records or an Error, never a crash.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/base/error.h"
#include "trainer/data/cifar_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace largo::data;
  for (const CifarLabels& labels : {CifarLabels{10}, CifarLabels{20, 100}}) {
    std::vector<uint8_t> pixels, classes;
    try {
      parse_cifar(std::span(data, size), labels, "fuzz", pixels, classes);
    } catch (const largo::Error& error) {
      if (error.code() != largo::ExitCode::kBadData) throw;
      continue;
    }
    LARGO_CHECK(classes.size() == size / cifar_record_bytes(labels) &&
                    pixels.size() == classes.size() * kCifarValues,
                "counts");
    for (const uint8_t label : classes) LARGO_CHECK(label < labels.back(), "label");
  }
  return 0;
}
