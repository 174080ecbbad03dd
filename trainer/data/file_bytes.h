// Whole files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace largo::data {

// Replaces `bytes`, whose memory is used again. Throws Error: kInputMissing, kBadData for what is
// no regular file or has more than most_bytes, kIo where the file shrinks or cannot be read,
// kUnavailable. `cure` ends the messages on files that are not there.
void read_file_bytes(const std::filesystem::path& path, const std::string& cure,
                     uint64_t most_bytes, std::vector<uint8_t>& bytes);

}  // namespace largo::data
