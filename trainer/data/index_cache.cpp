#include "trainer/data/index_cache.h"

#include <zlib.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "comm/base/error.h"
#include "trainer/base/atomic_file.h"

namespace largo::data {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostBytes = uint64_t{1} << 32;

// What a file begins with; then come the stamp and the index.
struct Header {
  std::array<char, 16> magic = {'l', 'a', 'r', 'g', 'o', ' ', 'i', 'n', 'd', 'e', 'x', ' ', '1'};
  uint64_t stamp_bytes = 0;
  uint64_t index_bytes = 0;
  uint64_t checksum = 0;  // of stamp and index
};

uint64_t checksum(std::string_view stamp, std::string_view index) {
  const auto add = [](uLong crc, std::string_view bytes) {
    return crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  };
  return add(add(0, stamp), index);
}

std::optional<std::string> parse(std::string_view file, std::string_view stamp) {
  Header header;
  if (file.size() < sizeof(header)) return {};
  std::memcpy(&header, file.data(), sizeof(header));
  const std::string_view content = file.substr(sizeof(header));
  if (header.magic != Header().magic || header.stamp_bytes != stamp.size() ||
      !content.starts_with(stamp)) {
    return {};
  }
  const std::string_view index = content.substr(stamp.size());
  if (header.index_bytes != index.size() || header.checksum != checksum(stamp, index)) return {};
  return std::string(index);
}

std::optional<std::string> load_file(const fs::path& path, std::string_view stamp) {
  try {
    const std::vector<std::byte> bytes = read_file(path, kMostBytes);
    return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, stamp);
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

IndexCache::IndexCache(std::vector<fs::path> folders, std::string name)
    : folders_(std::move(folders)), name_(std::move(name)) {}

std::optional<std::string> IndexCache::load(std::string_view stamp) const {
  for (const fs::path& folder : folders_) {
    if (auto index = load_file(folder / name_, stamp)) return index;
  }
  return {};
}

bool IndexCache::store(std::string_view stamp, std::string_view index) const noexcept {
  const Header header{
      .stamp_bytes = stamp.size(), .index_bytes = index.size(), .checksum = checksum(stamp, index)};
  const std::array chunks = {std::as_bytes(std::span(&header, 1)), std::as_bytes(std::span(stamp)),
                             std::as_bytes(std::span(index))};
  for (const fs::path& folder : folders_) {
    try {
      make_directories(folder);
      write_file_atomically(folder / name_, chunks);
      return true;
    } catch (const std::exception&) {  // the next folder may do
    }
  }
  return false;
}

}  // namespace largo::data
