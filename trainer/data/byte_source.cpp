#include "trainer/data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "comm/base/error.h"

namespace largo::data {

size_t MemoryBytes::read(uint64_t offset, std::span<uint8_t> to) const {
  if (offset >= bytes_.size()) return 0;
  const auto from = bytes_.subspan(offset, std::min<uint64_t>(to.size(), bytes_.size() - offset));
  std::copy(from.begin(), from.end(), to.begin());
  return from.size();
}

OpenFile::OpenFile(const std::filesystem::path& path, const std::string& cure)
    : name_(path.string()) {
  // O_NONBLOCK: opening a pipe would wait for a writer. Regular files do not know it.
  fd_ = open(name_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    const bool missing = errno == ENOENT || errno == ENOTDIR || errno == EACCES;
    fail(missing ? ExitCode::kInputMissing : ExitCode::kUnavailable, name_,
         ": cannot be opened: ", std::strerror(errno), "; ", cure);
  }
  struct stat status {};
  const bool regular = fstat(fd_, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular) {
    close(fd_);
    fail(ExitCode::kBadData, name_, ": is not a regular file; ", cure);
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

OpenFile::~OpenFile() { close(fd_); }

size_t OpenFile::read(uint64_t offset, std::span<uint8_t> to) const {
  size_t done = 0;
  while (done < to.size()) {
    const ssize_t got =
        pread(fd_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (got == 0) break;
    if (got > 0) {
      done += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      fail(ExitCode::kIo, name_, ": reading at byte ", offset + done,
           " fails: ", std::strerror(errno));
    }
  }
  return done;
}

void OpenFile::expect_random_reads() const { posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM); }

}  // namespace largo::data
