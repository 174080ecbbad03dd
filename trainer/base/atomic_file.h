// Files that are there whole or not at all, whatever is killed or unplugged in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace largo {

// All of these throw Error{kIo} with the path, the system's reason and, where bytes could not be
// written, how many they are, unless said otherwise.

// Writes the chunks one after the other into a temporary file in the same folder, brings it to
// disk, renames it to `path` (replacing what was there) and brings the folder to disk.
// On failure the old file is as it was, and the temporary one is gone.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> chunks);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

// Writes a new file, or over an old one, and brings it to disk: for folders that nobody reads yet.
// What was written of it stays on failure.
void write_file(const std::filesystem::path& path,
                std::span<const std::span<const std::byte>> chunks);
void write_file(const std::filesystem::path& path, std::string_view text);

// The whole file. Throws Error{kInputMissing} where there is none, Error{kBadData} where it is
// larger than max_bytes.
std::vector<std::byte> read_file(const std::filesystem::path& path, uint64_t max_bytes);

// Creates the folder and those above it; fine where they exist.
void make_directories(const std::filesystem::path& path);

// Brings the names in a folder to disk: what was created or renamed in it survives a power cut.
void sync_directory(const std::filesystem::path& path);

}  // namespace largo
