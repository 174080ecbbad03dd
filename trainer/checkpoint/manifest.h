// What belongs to a checkpoint: its files with their sizes and hashes, and the mark that it is
// complete. Every byte of every file is covered, these two included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/error.h"

namespace largo::checkpoint {

constexpr const char* kManifestFile = "manifest.json";
constexpr const char* kDoneFile = "DONE";

// A checkpoint of a Largo that does things differently: not damage, and so never passed over.
struct UnknownVersion : Error {
  using Error::Error;
};

// A file to be written: its bytes in pieces, which are somebody else's memory.
struct CheckpointFile {
  std::string name;
  std::vector<std::span<const std::byte>> chunks;
};

struct Manifest {
  struct File {
    std::string name;
    uint64_t bytes = 0;
    std::vector<uint64_t> blocks = {};  // XXH64 of every 4 MiB, of the last what is left
  };

  int64_t step = 0;
  std::optional<double> top1 = {};  // on the validation set, where this step was evaluated
  std::vector<File> files = {};
};

Manifest::File describe(const CheckpointFile& file);

std::string to_json(const Manifest& manifest);

// Throws Error{kBadData} naming `where` for anything that to_json did not write.
Manifest manifest_from_json(std::string_view json, const std::string& where);

// Throws Error{kBadData} with the path, the place and what is expected unless these are the bytes
// that were described.
void check_bytes(std::span<const std::byte> bytes, const Manifest::File& expected,
                 const std::filesystem::path& path);

// What DONE says: the format's version, the step, the manifest's size and hash, and its own hash.
std::string done_text(int64_t step, std::string_view manifest);

// The manifest as DONE describes it. Throws UnknownVersion, and Error{kBadData} for a text that is
// not whole.
Manifest::File parse_done(std::string_view done, const std::filesystem::path& path);

}  // namespace largo::checkpoint
