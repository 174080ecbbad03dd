#include "trainer/data/idx_file.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <istream>
#include <span>
#include <system_error>

#include "comm/base/error.h"

namespace largo::data {

namespace {

constexpr size_t kMostBytes = size_t{1} << 34;  // of one array; EMNIST, the largest, has 2^29
constexpr size_t kFirstPiece = size_t{1} << 16;

// The bytes of a stream, decompressed where it holds gzip members (one or several).
class ByteSource {
 public:
  // Both must outlive this object.
  ByteSource(std::istream& in, const std::string& name) : in_(in), name_(name) {
    refill();
    gzip_ = stream_.avail_in >= 2 && buffer_[0] == 0x1f && buffer_[1] == 0x8b;
    constexpr int kGzipWindow = 15 + 16;
    if (gzip_ && inflateInit2(&stream_, kGzipWindow) != Z_OK) {
      fail(ExitCode::kUnavailable, name_, ": zlib cannot start to decompress");
    }
  }
  ~ByteSource() {
    if (gzip_) inflateEnd(&stream_);
  }
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // Fills `to`, or as much of it as there still is; returns how much.
  size_t read(std::span<uint8_t> to) {
    size_t done = 0;
    while (done < to.size() && (stream_.avail_in > 0 || refill())) {
      done += gzip_ ? decompress(to.subspan(done)) : copy(to.subspan(done));
    }
    if (done < to.size() && gzip_ && !at_member_end_) {
      fail(ExitCode::kBadData, name_, ": the gzip data end early, after ", read_bytes_,
           " bytes of the file; it was not copied completely");
    }
    return done;
  }

 private:
  bool refill() {
    in_.read(reinterpret_cast<char*>(buffer_.data()), buffer_.size());
    if (in_.bad()) fail(ExitCode::kBadData, name_, ": reading fails after ", read_bytes_, " bytes");
    stream_.next_in = buffer_.data();
    stream_.avail_in = static_cast<uInt>(in_.gcount());
    read_bytes_ += stream_.avail_in;
    return stream_.avail_in > 0;
  }

  size_t copy(std::span<uint8_t> to) {
    const size_t count = std::min<size_t>(to.size(), stream_.avail_in);
    std::memcpy(to.data(), stream_.next_in, count);
    stream_.next_in += count;
    stream_.avail_in -= static_cast<uInt>(count);
    return count;
  }

  size_t decompress(std::span<uint8_t> to) {
    if (at_member_end_) {
      inflateReset(&stream_);
      at_member_end_ = false;
    }
    constexpr size_t kMostAtOnce = size_t{1} << 30;  // zlib counts in 32 bits
    const uInt room = static_cast<uInt>(std::min(to.size(), kMostAtOnce));
    stream_.next_out = to.data();
    stream_.avail_out = room;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    if (result == Z_STREAM_END) {
      at_member_end_ = true;
    } else if (result != Z_OK) {
      fail(ExitCode::kBadData, name_, ": the gzip data are corrupt near byte ",
           read_bytes_ - stream_.avail_in, " of the file (",
           stream_.msg != nullptr ? stream_.msg : zError(result), ")");
    }
    return room - stream_.avail_out;
  }

  std::istream& in_;
  const std::string& name_;
  std::array<uint8_t, 1 << 16> buffer_;
  z_stream stream_{};  // without gzip only its place in the buffer is used
  bool gzip_ = false;
  bool at_member_end_ = false;
  size_t read_bytes_ = 0;
};

uint32_t big_endian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

std::string hex(uint32_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << std::setw(8) << std::setfill('0') << value;
  return text.str();
}

// "60000 x 28 x 28"
std::string product(const std::vector<int64_t>& dims) {
  std::string text;
  for (const int64_t length : dims) text += (text.empty() ? "" : " x ") + std::to_string(length);
  return text;
}

std::vector<int64_t> read_dims(ByteSource& source, const std::string& name, int rank) {
  std::vector<uint8_t> header(4 + 4 * static_cast<size_t>(rank));
  const size_t found = source.read(header);
  const uint32_t expected_magic = 0x0800 + static_cast<uint32_t>(rank);
  if (found >= 4 && big_endian(header.data()) != expected_magic) {
    fail(ExitCode::kBadData, name, ": expected the magic number ", hex(expected_magic),
         " of an IDX file of unsigned bytes in ", rank, " dimensions, found ",
         hex(big_endian(header.data())));
  }
  if (found < header.size()) {
    fail(ExitCode::kBadData, name, ": expected an IDX header of ", header.size(),
         " bytes, found a file of ", found);
  }
  std::vector<int64_t> dims;
  for (size_t at = 4; at < header.size(); at += 4) dims.push_back(big_endian(&header[at]));
  size_t total = 1;
  for (const int64_t length : dims) {
    if (length == 0) fail(ExitCode::kBadData, name, ": is empty: its header says ", product(dims));
    if (static_cast<size_t>(length) > kMostBytes / total) {
      fail(ExitCode::kBadData, name, ": its header says ", product(dims), " bytes; legal: at most ",
           kMostBytes);
    }
    total *= static_cast<size_t>(length);
  }
  return dims;
}

std::ifstream open(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status)) {
    fail(ExitCode::kInputMissing, file.string(), ": there is no such file; check data.path");
  }
  if (!std::filesystem::is_regular_file(status)) {
    fail(ExitCode::kBadData, file.string(), ": is not a regular file");
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    fail(ExitCode::kInputMissing, file.string(), ": cannot be opened; check its permissions");
  }
  return in;
}

}  // namespace

IdxArray read_idx(std::istream& in, const std::string& name, int rank) {
  ByteSource source(in, name);
  IdxArray array{.dims = read_dims(source, name, rank), .bytes = {}};
  size_t total = 1;
  for (const int64_t length : array.dims) total *= static_cast<size_t>(length);

  // In growing pieces, since the header may promise much more than the file holds.
  size_t have = 0;
  while (have < total) {
    const size_t want = std::min(total, std::max(kFirstPiece, 2 * have));
    array.bytes.reserve(want);
    array.bytes.resize(want);
    have += source.read(std::span(array.bytes).subspan(have));
    if (have < want) {
      fail(ExitCode::kBadData, name, ": expected ", total, " bytes (", product(array.dims),
           ") after the header, found ", have, "; the file is truncated");
    }
  }
  // Reading on also checks the gzip checksum.
  std::array<uint8_t, 4096> excess;
  if (const size_t extra = source.read(excess); extra > 0) {
    fail(ExitCode::kBadData, name, ": expected ", total, " bytes (", product(array.dims),
         ") after the header, found ", extra == excess.size() ? "at least " : "", total + extra);
  }
  return array;
}

IdxArray read_idx(const std::filesystem::path& file, int rank) {
  std::ifstream in = open(file);
  return read_idx(in, file.string(), rank);
}

std::vector<int64_t> read_idx_dims(const std::filesystem::path& file, int rank) {
  std::ifstream in = open(file);
  const std::string name = file.string();
  ByteSource source(in, name);
  return read_dims(source, name, rank);
}

}  // namespace largo::data
