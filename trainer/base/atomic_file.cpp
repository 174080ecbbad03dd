#include "trainer/base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "comm/base/error.h"

namespace largo {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_io(const char* verb, const fs::path& path, int error) {
  fail(ExitCode::kIo, "cannot ", verb, " ", path.string(), ": ",
       std::generic_category().message(error));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }
  // Closes now: only so does an error of a delayed write (NFS) come to light.
  int close() {
    const int fd = fd_;
    fd_ = -1;
    return ::close(fd);
  }

 private:
  int fd_;
};

// False, with errno, where it cannot.
bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

// A signal may interrupt it on a network file system, SA_RESTART or not.
int bring_to_disk(int fd) {
  int result = 0;
  do {
    result = ::fsync(fd);
  } while (result != 0 && errno == EINTR);
  return result;
}

// The folder that holds `path`; a bare file name's is the current one.
fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

void write_file(const fs::path& path, std::span<const std::span<const std::byte>> chunks) {
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) fail_io("create", path, errno);
  size_t bytes = 0;
  for (const std::span<const std::byte> chunk : chunks) bytes += chunk.size();
  const auto fail_with_size = [&](const char* verb) {
    const int error = errno;
    fail_io(concat(verb, " the ", bytes, " bytes of").c_str(), path, error);
  };
  for (const std::span<const std::byte> chunk : chunks) {
    if (!write_all(file.get(), chunk)) fail_with_size("write");
  }
  if (bring_to_disk(file.get()) != 0) fail_with_size("bring to disk");
  // Interrupted it is closed all the same, and all bytes are on the disk already.
  if (file.close() != 0 && errno != EINTR) fail_with_size("bring to disk");
}

void write_file(const fs::path& path, std::string_view text) {
  const std::span<const std::byte> chunk = std::as_bytes(std::span(text));
  write_file(path, std::span(&chunk, 1));
}

void write_file_atomically(const fs::path& path,
                           std::span<const std::span<const std::byte>> chunks) {
  const fs::path temporary = path.string() + concat(".tmp-", ::getpid());
  try {
    write_file(temporary, chunks);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_io("write", path, errno);
  } catch (const Error&) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(folder_of(path));
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  const std::span<const std::byte> chunk = std::as_bytes(std::span(text));
  write_file_atomically(path, std::span(&chunk, 1));
}

std::vector<std::byte> read_file(const fs::path& path, uint64_t max_bytes) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && (errno == ENOENT || errno == ENOTDIR)) {
    fail(ExitCode::kInputMissing, "there is no file ", path.string());
  }
  if (file.get() < 0) fail_io("read", path, errno);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail_io("read", path, errno);
  if (!S_ISREG(info.st_mode)) {
    fail(ExitCode::kBadData, path.string(), " is not a regular file");
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size > max_bytes) {
    fail(ExitCode::kBadData, path.string(), " has ", size, " bytes; at most ", max_bytes,
         " are legal here");
  }
  std::vector<std::byte> bytes(size);
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_io("read", path, errno);
    if (got == 0) fail(ExitCode::kIo, path.string(), " became shorter while it was read");
    filled += static_cast<size_t>(got);
  }
  return bytes;
}

void make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    fail(ExitCode::kIo, "cannot create the directory ", path.string(), ": ", error.message());
  }
}

void sync_directory(const fs::path& path) {
  const FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) fail_io("open the directory", path, errno);
  // Some network file systems cannot sync a directory and say EINVAL; their renames are durable.
  if (bring_to_disk(folder.get()) != 0 && errno != EINVAL) fail_io("bring to disk", path, errno);
}

}  // namespace largo
