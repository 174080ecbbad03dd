#include "trainer/checkpoint/manifest.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "trainer/base/xxh64.h"

namespace largo::checkpoint {

namespace {

constexpr int kVersion = 1;
constexpr uint64_t kBlockBytes = uint64_t{4} << 20;
constexpr std::string_view kTitle = "largo checkpoint, version ";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

// The last line of DONE: the hash of the lines before it.
std::string seal(std::string_view text) {
  return concat("xxh64 ", hex16(xxh64(bytes_of(text))), '\n');
}

}  // namespace

Manifest::File describe(const CheckpointFile& file) {
  Manifest::File described = {.name = file.name};
  Xxh64 block;
  uint64_t in_block = 0;
  const auto end_block = [&] {
    described.blocks.push_back(block.digest());
    block = {};
    in_block = 0;
  };
  for (std::span<const std::byte> rest : file.chunks) {
    described.bytes += rest.size();
    while (!rest.empty()) {
      const size_t taken = std::min<uint64_t>(rest.size(), kBlockBytes - in_block);
      block.update(rest.first(taken));
      in_block += taken;
      rest = rest.subspan(taken);
      if (in_block == kBlockBytes) end_block();
    }
  }
  if (in_block > 0) end_block();
  return described;
}

std::string to_json(const Manifest& manifest) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const Manifest::File& file : manifest.files) {
    std::vector<std::string> blocks;
    blocks.reserve(file.blocks.size());
    for (const uint64_t block : file.blocks) blocks.push_back(hex16(block));
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh64", std::move(blocks)}});
  }
  nlohmann::ordered_json json = {{"step", manifest.step}};
  if (manifest.top1) json["top1"] = *manifest.top1;
  json["block_bytes"] = kBlockBytes;
  json["files"] = std::move(files);
  return json.dump(1) + '\n';
}

Manifest manifest_from_json(std::string_view text, const std::string& where) {
  try {
    const auto json = nlohmann::json::parse(text);
    Manifest manifest = {.step = json.at("step").get<int64_t>()};
    if (const auto top1 = json.find("top1"); top1 != json.end())
      manifest.top1 = top1->get<double>();
    for (const auto& file : json.at("files")) {
      Manifest::File entry = {.name = file.at("name").get<std::string>(),
                              .bytes = file.at("bytes").get<uint64_t>()};
      const std::filesystem::path name = entry.name;
      if (name.filename() != name || name.empty() || name == "." || name == "..") {
        fail(ExitCode::kBadData, "\"", entry.name, "\" is no file name");
      }
      for (const auto& block : file.at("xxh64")) {
        entry.blocks.push_back(std::stoull(block.get<std::string>(), nullptr, 16));
      }
      if (json.at("block_bytes") != kBlockBytes ||
          entry.blocks.size() != (entry.bytes + kBlockBytes - 1) / kBlockBytes) {
        fail(ExitCode::kBadData, entry.name, " has ", entry.blocks.size(), " hashes for ",
             entry.bytes, " bytes");
      }
      manifest.files.push_back(std::move(entry));
    }
    return manifest;
  } catch (const std::exception& error) {
    fail(ExitCode::kBadData, where, " is not the manifest of a checkpoint: ", error.what());
  }
}

void check_bytes(std::span<const std::byte> bytes, const Manifest::File& expected,
                 const std::filesystem::path& path) {
  if (bytes.size() != expected.bytes) {
    fail(ExitCode::kBadData, path.string(), " has ", bytes.size(), " bytes; ", expected.bytes,
         " are expected");
  }
  for (size_t block = 0; block < expected.blocks.size(); ++block) {
    const uint64_t begin = block * kBlockBytes;
    const uint64_t length = std::min<uint64_t>(kBlockBytes, bytes.size() - begin);
    const uint64_t found = xxh64(bytes.subspan(begin, length));
    if (found != expected.blocks[block]) {
      fail(ExitCode::kBadData, path.string(), " is damaged between byte ", begin, " and byte ",
           begin + length - 1, ": their XXH64 is ", hex16(found), "; ",
           hex16(expected.blocks[block]), " is expected");
    }
  }
}

std::string done_text(int64_t step, std::string_view manifest) {
  const std::string text =
      concat(kTitle, kVersion, ", step ", step, '\n', kManifestFile, ": ", manifest.size(),
             " bytes, xxh64 ", hex16(xxh64(bytes_of(manifest))), '\n');
  return text + seal(text);
}

Manifest::File parse_done(std::string_view done, const std::filesystem::path& path) {
  const size_t length = done.size() - std::min(done.size(), seal("").size());
  const std::string text(done.substr(0, length));
  if (done.substr(length) != seal(text)) {
    fail(ExitCode::kBadData, path.string(), " is damaged: its ", done.size(),
         " bytes do not end with the XXH64 of what is before");
  }
  int version = 0;
  if (!text.starts_with(kTitle) ||
      std::sscanf(text.c_str() + kTitle.size(), "%9d,", &version) != 1) {
    fail(ExitCode::kBadData, path.string(), " does not begin with \"", kTitle, "\"");
  }
  if (version != kVersion) {
    throw UnknownVersion(
        ExitCode::kBadData,
        concat(path.parent_path().string(), " is a checkpoint of format version ", version,
               "; this Largo reads version ", kVersion, ": use the Largo that wrote it"));
  }
  long long step = 0;
  unsigned long long bytes = 0;
  unsigned long long hash = 0;
  if (std::sscanf(text.c_str() + kTitle.size(),
                  "1, step %19lld manifest.json: %19llu bytes, xxh64 %16llx", &step, &bytes,
                  &hash) != 3) {
    fail(ExitCode::kBadData, path.string(), " does not describe ", kManifestFile);
  }
  return {.name = kManifestFile, .bytes = bytes, .blocks = {hash}};
}

}  // namespace largo::checkpoint
