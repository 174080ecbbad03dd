#include "trainer/checkpoint/checkpointer.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string_view>
#include <utility>

#include "comm/base/as_agreed.h"
#include "comm/base/error.h"
#include "trainer/base/atomic_file.h"

namespace largo::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 40;
constexpr int64_t kBroadcastBytes = int64_t{256} << 20;  // at a time: counts of MPI are 32 bits
constexpr std::string_view kPrefix = "step-";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kJson = "state.json";
constexpr const char* kDone = "DONE";

std::string folder_name(int64_t step) {
  std::array<char, 32> name;
  std::snprintf(name.data(), name.size(), "step-%08lld", static_cast<long long>(step));
  return name.data();
}

// The step of "step-00000500"; nullopt for anything else, "step-00000500.tmp-17" too.
std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (error != std::errc() || stop != end || name != folder_name(step)) return std::nullopt;
  return step;
}

struct Found {
  int64_t step;
  fs::path path;
  bool is_complete;
};

// By step. None where the directory is not there.
std::vector<Found> find_checkpoints(const fs::path& directory) {
  std::vector<Found> found;
  if (!fs::exists(directory)) return found;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::optional<int64_t> step = step_of(entry.path().filename().string());
    if (step) found.push_back({*step, entry.path(), fs::exists(entry.path() / kDone)});
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.step < b.step; });
  return found;
}

// DONE first: what is left by a kill in between is no checkpoint.
void remove_checkpoint(const fs::path& path) {
  fs::remove(path / kDone);
  fs::remove_all(path);
}

fs::path free_abandoned_name(const fs::path& path) {
  fs::path name = path.string() + ".abandoned";
  for (int n = 2; fs::exists(name); ++n) name = path.string() + concat(".abandoned-", n);
  return name;
}

}  // namespace

Checkpointer::Checkpointer(const CheckpointOptions& options, fs::path directory,
                           comm::Communicator& comm, Log& log)
    : options_(options), directory_(std::move(directory)), comm_(comm), log_(log) {}

fs::path Checkpointer::save(int64_t step, const State& state) {
  on_root([&] { write(step, state); });
  // Reading a GPU's tensors has waited for the sums that made them. Where one of those failed, the
  // communicator has said so by now, and what was written never counts as a checkpoint.
  on_root([&] { publish(step); });
  if (comm_.rank() == 0) clear_up(step);
  return directory_ / folder_name(step);
}

std::optional<fs::path> Checkpointer::latest() {
  std::vector<std::byte> path;
  on_root([&] {
    const std::vector<Found> found = find_checkpoints(directory_);
    const auto newest = std::find_if(found.rbegin(), found.rend(),
                                     [](const Found& one) { return one.is_complete; });
    if (newest == found.rend()) return;
    const std::string text = newest->path.string();
    const auto bytes = std::as_bytes(std::span(text));
    path.assign(bytes.begin(), bytes.end());
  });
  broadcast_bytes(path);
  if (path.empty()) return std::nullopt;
  return fs::path(std::string(reinterpret_cast<const char*>(path.data()), path.size()));
}

LoadedState Checkpointer::load(const fs::path& path) {
  on_root([&] {
    if (!fs::exists(path / kDone)) {
      fail(ExitCode::kInputMissing, path.string(), " is no complete checkpoint: it has no file ",
           kDone);
    }
  });
  LoadedState state;
  // All ranks parse the same bytes, and so fail alike.
  const auto parse = [&](const fs::path& file) {
    const std::vector<std::byte> bytes = read_everywhere(file);
    return as_agreed([&] { return parse_tensors(bytes, file.string()); });
  };
  state.model = parse(path / kModel);
  state.optimizer = parse(path / kOptimizer);
  const std::vector<std::byte> json = read_everywhere(path / kJson);
  state.json.assign(reinterpret_cast<const char*>(json.data()), json.size());
  return state;
}

// Runs `work` on rank 0. If it fails, every rank throws its error.
void Checkpointer::on_root(const std::function<void()>& work) {
  int code = 0;
  std::string message;
  if (comm_.rank() == 0) {
    try {
      work();
    } catch (const fs::filesystem_error& error) {
      code = static_cast<int>(ExitCode::kIo);
      message = error.what();
    } catch (const std::exception& error) {
      code = static_cast<int>(exit_code(error));
      message = error.what();
    }
  }
  at::Tensor outcome = at::full({1}, code, at::kLong);
  comm_.broadcast(outcome, 0);
  code = static_cast<int>(outcome.item<int64_t>());
  if (code == 0) return;
  const auto text = std::as_bytes(std::span(message));
  std::vector<std::byte> bytes(text.begin(), text.end());
  broadcast_bytes(bytes);
  message.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  throw AgreedError(static_cast<ExitCode>(code), message);
}

// Replaces `bytes` on every rank by rank 0's.
void Checkpointer::broadcast_bytes(std::vector<std::byte>& bytes) {
  at::Tensor size = at::full({1}, static_cast<int64_t>(bytes.size()), at::kLong);
  comm_.broadcast(size, 0);
  const int64_t total = size.item<int64_t>();
  bytes.resize(static_cast<size_t>(total));
  for (int64_t begin = 0; begin < total; begin += kBroadcastBytes) {
    const int64_t length = std::min(kBroadcastBytes, total - begin);
    comm_.broadcast(at::from_blob(bytes.data() + begin, {length}, at::kByte), 0);
  }
}

std::vector<std::byte> Checkpointer::read_everywhere(const fs::path& path) {
  std::vector<std::byte> bytes;
  on_root([&] { bytes = read_file(path, kMaxFileBytes); });
  broadcast_bytes(bytes);
  return bytes;
}

fs::path Checkpointer::temporary_folder(int64_t step) const {
  return directory_ / (folder_name(step) + concat(".tmp-", ::getpid()));
}

// Under a name that is nobody's yet.
void Checkpointer::write(int64_t step, const State& state) const {
  const fs::path temporary = temporary_folder(step);
  try {
    fs::remove_all(temporary);
    make_directories(temporary);
    save_tensors(temporary / kModel, state.model, {{"format", "pt"}});
    save_tensors(temporary / kOptimizer, state.optimizer, {{"format", "pt"}});
    write_file_atomically(temporary / kJson, state.json);
  } catch (const std::exception&) {
    std::error_code ignored;  // the first error is the one to report
    fs::remove_all(temporary, ignored);
    throw;
  }
}

void Checkpointer::publish(int64_t step) const {
  const fs::path path = directory_ / folder_name(step);
  const fs::path temporary = temporary_folder(step);
  const fs::path replaced = path.string() + concat(".tmp-replaced-", ::getpid());
  try {
    fs::remove_all(replaced);
    if (fs::exists(path)) fs::rename(path, replaced);
    fs::rename(temporary, path);
    sync_directory(directory_);
    write_file_atomically(path / kDone, concat("step ", step, '\n'));
  } catch (const std::exception&) {
    std::error_code ignored;  // the first error is the one to report
    fs::remove_all(temporary, ignored);
    if (fs::exists(replaced, ignored)) {
      fs::remove_all(path, ignored);
      fs::rename(replaced, path, ignored);
    }
    throw;
  }
}

void Checkpointer::clear_up(int64_t step) noexcept {
  try {
    int64_t kept = 0;
    std::vector<Found> found = find_checkpoints(directory_);
    std::reverse(found.begin(), found.end());
    for (const Found& one : found) {
      if (!one.is_complete) {
        remove_checkpoint(one.path);
      } else if (one.step > step) {
        const fs::path name = free_abandoned_name(one.path);
        fs::rename(one.path, name);
        log_.warn(concat("checkpoint of the later step ", one.step, " set aside as ", name.string(),
                         ": training went back to before it"));
      } else if (++kept > options_.keep) {
        remove_checkpoint(one.path);
      }
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(directory_)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(kPrefix) && name.find(".tmp-") != std::string::npos) {
        fs::remove_all(entry.path());
      }
    }
  } catch (const std::exception& error) {
    log_.warn(concat("cannot clear up old checkpoints: ", error.what()));
  }
}

}  // namespace largo::checkpoint
