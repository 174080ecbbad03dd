// Bytes that can be read at any place: a file, or memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace largo::data {

// All members may be called from several threads at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  virtual uint64_t size() const = 0;

  // Fills `to` with what stands at `offset`, or as much of it as there is; returns how much.
  // Throws Error{kIo} where the system refuses.
  virtual size_t read(uint64_t offset, std::span<uint8_t> to) const = 0;

  virtual const std::string& name() const = 0;  // for messages
};

// The bytes must outlive this object.
class MemoryBytes final : public ByteSource {
 public:
  MemoryBytes(std::span<const uint8_t> bytes, std::string name)
      : bytes_(bytes), name_(std::move(name)) {}

  uint64_t size() const override { return bytes_.size(); }
  size_t read(uint64_t offset, std::span<uint8_t> to) const override;
  const std::string& name() const override { return name_; }

 private:
  std::span<const uint8_t> bytes_;
  std::string name_;
};

// A file that stays open. Its size is what it was at the start.
class OpenFile final : public ByteSource {
 public:
  // Throws Error{kInputMissing} where there is no such file or it may not be read, kBadData where
  // it is no regular file, kUnavailable where too many are open. The message ends with `cure`.
  OpenFile(const std::filesystem::path& path, const std::string& cure);
  ~OpenFile() override;
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  uint64_t size() const override { return size_; }
  size_t read(uint64_t offset, std::span<uint8_t> to) const override;
  const std::string& name() const override { return name_; }

  // Reads will be here and there: the system then fetches what is asked for and no more.
  void expect_random_reads() const;

 private:
  std::string name_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

}  // namespace largo::data
