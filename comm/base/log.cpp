#include "comm/base/log.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "comm/base/error.h"

namespace largo {

void Log::set_rank(int rank, int world, std::string host) {
  const std::scoped_lock lock(mutex_);
  rank_ = rank;
  tag_ = world > 1 ? concat("[rank ", rank, " @ ", host, "] ") : std::string();
}

void Log::tee_to(const std::filesystem::path& file) {
  const std::scoped_lock lock(mutex_);
  tee_.reset(std::fopen(file.c_str(), "a"));
  if (!tee_) fail(ExitCode::kIo, file.string(), ": ", std::strerror(errno));
}

void Log::note(std::string_view message) noexcept {
  if (rank_ == 0) write("", "", message);
}

void Log::warn(std::string_view message) noexcept {
  if (rank_ == 0) write("", "warning: ", message);
}

void Log::warn_of_rank(std::string_view message) noexcept { write(tag_, "warning: ", message); }

void Log::error(std::string_view message) noexcept { write(tag_, "error: ", message); }

void Log::set_status(std::string_view line) noexcept {
  if (rank_ != 0) return;
  const std::scoped_lock lock(mutex_);
  status_.assign(line);
  std::fprintf(stream_, "\r\033[K%s", status_.c_str());
  std::fflush(stream_);
}

void Log::write(std::string_view tag, std::string_view prefix, std::string_view message) noexcept {
  const std::scoped_lock lock(mutex_);
  const auto print = [&](std::FILE* out) {
    std::fprintf(out, "%.*s%.*s%.*s\n", static_cast<int>(tag.size()), tag.data(),
                 static_cast<int>(prefix.size()), prefix.data(), static_cast<int>(message.size()),
                 message.data());
    std::fflush(out);
  };
  if (!status_.empty()) std::fputs("\r\033[K", stream_);
  print(stream_);
  if (!status_.empty()) {
    std::fputs(status_.c_str(), stream_);
    std::fflush(stream_);
  }
  if (tee_) print(tee_.get());
}

}  // namespace largo
