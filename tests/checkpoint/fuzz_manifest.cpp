// libFuzzer entry: no bytes may make the readers of manifest.json and DONE do anything but read or
// refuse. DONE is tried as it comes, and sealed: its hash keeps what is random out of all the rest.
#include <cstdlib>
#include <span>
#include <string>

#include "comm/base/error.h"
#include "trainer/base/xxh64.h"
#include "trainer/checkpoint/manifest.h"

namespace {

using largo::checkpoint::Manifest;

template <class Action>
void read_or_refuse(const Action& action) {
  try {
    action();
  } catch (const largo::Error& error) {
    if (error.code() != largo::ExitCode::kBadData) std::abort();
  }
}

// What is taken for a manifest is written and read again as the same.
void check_manifest(const std::string& text) {
  const Manifest manifest = largo::checkpoint::manifest_from_json(text, "input");
  for (const Manifest::File& file : manifest.files) {
    if (file.name.empty() || file.name.find('/') != std::string::npos) std::abort();
  }
  const std::string again = largo::checkpoint::to_json(manifest);
  if (to_json(largo::checkpoint::manifest_from_json(again, "again")) != again) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const uint64_t hash = largo::xxh64(std::as_bytes(std::span(text)));
  read_or_refuse([&] { check_manifest(text); });
  read_or_refuse([&] { largo::checkpoint::parse_done(text, "DONE"); });
  read_or_refuse([&] {
    const std::string sealed = text + "xxh64 " + largo::hex16(hash) + "\n";
    largo::checkpoint::parse_done(sealed, "DONE");
  });
  return 0;
}
