#include "trainer/checkpoint/store.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "comm/base/error.h"
#include "trainer/base/atomic_file.h"

namespace largo::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "step-";
constexpr const char* kNextDone = "DONE.next";       // DONE before it counts
constexpr const char* kReplaced = ".tmp-replaced-";  // then the process
constexpr uint64_t kMaxMarkBytes = 1 << 10;

std::string folder_name(int64_t step) {
  std::array<char, 32> name{};
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

bool is_temporary(const std::string& name) {
  return name.starts_with(kPrefix) && name.find(".tmp-") != std::string::npos;
}

// The step whose checkpoint was set aside under this name, to be replaced.
std::optional<int64_t> replaced_step_of(const std::string& name) {
  const size_t end = name.find(kReplaced);
  if (end == std::string::npos) return std::nullopt;
  return step_of(name.substr(0, end));
}

struct Found {
  int64_t step;
  fs::path path;
  bool is_complete;
};

// Of the highest step first. None where the directory is not there. Where a process was killed
// while it replaced a checkpoint, the old one is still that step's.
std::vector<Found> find_checkpoints(const fs::path& directory) {
  std::vector<Found> found;
  if (!fs::exists(directory)) return found;
  std::vector<Found> replaced;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool is_complete = fs::exists(entry.path() / kDoneFile);
    if (const auto step = step_of(name)) {
      found.push_back({*step, entry.path(), is_complete});
    } else if (const auto old = replaced_step_of(name); old && is_complete) {
      replaced.push_back({*old, entry.path(), true});
    }
  }
  for (const Found& old : replaced) {
    const bool is_there = std::any_of(found.begin(), found.end(), [&](const Found& one) {
      return one.step == old.step && one.is_complete;
    });
    if (is_there) continue;
    std::erase_if(found, [&](const Found& one) { return one.step == old.step; });
    found.push_back(old);
  }
  std::sort(found.begin(), found.end(),
            [](const Found& a, const Found& b) { return a.step > b.step; });
  return found;
}

// DONE first: what is left by a kill in between is no checkpoint. Nothing where it is not there.
void remove_checkpoint(const fs::path& path) {
  fs::remove(path / kDoneFile);
  fs::remove_all(path);
}

// Leftovers of processes that were killed while they replaced this step's checkpoint, which is
// complete: once this process replaces it too, they must not be taken for the one it set aside.
void remove_replaced(const fs::path& directory, int64_t step) {
  std::vector<fs::path> leftovers;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (replaced_step_of(entry.path().filename().string()) == step) {
      leftovers.push_back(entry.path());
    }
  }
  for (const fs::path& leftover : leftovers) remove_checkpoint(leftover);
}

fs::path free_abandoned_name(const fs::path& path) {
  fs::path name = path.string() + ".abandoned";
  for (int n = 2; fs::exists(name); ++n) name = path.string() + concat(".abandoned-", n);
  return name;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A file that must be there, as its description says. Its size is looked at before it is read.
std::vector<std::byte> read_described(const fs::path& folder, const Manifest::File& file) {
  const fs::path path = folder / file.name;
  if (!fs::exists(path)) {
    fail(ExitCode::kBadData, path.string(), " is missing; a file of ", file.bytes,
         " bytes is expected");
  }
  std::vector<std::byte> bytes;
  if (fs::is_regular_file(path) && fs::file_size(path) != file.bytes) {
    fail(ExitCode::kBadData, path.string(), " has ", fs::file_size(path), " bytes; ", file.bytes,
         " are expected");
  }
  bytes = read_file(path, file.bytes);
  check_bytes(bytes, file, path);
  return bytes;
}

Manifest read_manifest(const fs::path& folder) {
  const fs::path mark = folder / kDoneFile;
  if (!fs::exists(mark)) {
    fail(ExitCode::kInputMissing, folder.string(), " is no complete checkpoint: it has no file ",
         kDoneFile);
  }
  const Manifest::File described = parse_done(text_of(read_file(mark, kMaxMarkBytes)), mark);
  return manifest_from_json(text_of(read_described(folder, described)),
                            (folder / kManifestFile).string());
}

// Of the highest top-1, the earliest of several; none where no checkpoint was evaluated.
fs::path best_of(const std::vector<Found>& newest_first,
                 const std::function<void(const std::string&)>& warn) {
  fs::path best;
  double most = -std::numeric_limits<double>::infinity();
  for (const Found& one : newest_first) {
    if (!one.is_complete) continue;
    try {
      const std::optional<double> top1 = read_manifest(one.path).top1;
      if (top1 && *top1 >= most) {
        most = *top1;
        best = one.path;
      }
    } catch (const std::exception& error) {
      warn(concat("cannot tell whether a checkpoint is the best: ", error.what()));
    }
  }
  return best;
}

}  // namespace

fs::path Store::path_of(int64_t step) const { return directory_ / folder_name(step); }

fs::path Store::temporary_folder(int64_t step) const {
  return path_of(step).string() + concat(".tmp-", ::getpid());
}

std::vector<fs::path> Store::complete() const {
  std::vector<fs::path> paths;
  for (const Found& one : find_checkpoints(directory_)) {
    if (one.is_complete) paths.push_back(one.path);
  }
  return paths;
}

void Store::write(int64_t step, std::optional<double> top1,
                  std::span<const CheckpointFile> files) const {
  const fs::path temporary = temporary_folder(step);
  uint64_t bytes = 0;
  try {
    Manifest manifest = {.step = step, .top1 = top1};
    for (const CheckpointFile& file : files) {
      bytes += manifest.files.emplace_back(describe(file)).bytes;
    }
    fs::remove_all(temporary);
    make_directories(temporary);
    for (const CheckpointFile& file : files) write_file(temporary / file.name, file.chunks);
    const std::string json = to_json(manifest);
    write_file(temporary / kManifestFile, json);
    write_file(temporary / kNextDone, done_text(step, json));
    sync_directory(temporary);
  } catch (const std::exception& error) {
    std::error_code ignored;  // the first error is the one to report
    fs::remove_all(temporary, ignored);
    fail(ExitCode::kIo, "no checkpoint of step ", step, ", which takes ", bytes,
         " bytes: ", error.what(), "; older checkpoints are as they were");
  }
}

void Store::publish(int64_t step) const {
  const fs::path path = path_of(step);
  const fs::path temporary = temporary_folder(step);
  const fs::path replaced = path.string() + concat(kReplaced, ::getpid());
  try {
    if (fs::exists(path / kDoneFile)) {
      remove_replaced(directory_, step);
      fs::rename(path, replaced);
    } else {
      fs::remove_all(path);  // what a killed process left
    }
    fs::rename(temporary, path);
    sync_directory(directory_);
    fs::rename(path / kNextDone, path / kDoneFile);
    sync_directory(path);
  } catch (const std::exception& error) {
    std::error_code ignored;  // the first error is the one to report
    fs::remove_all(temporary, ignored);
    if (fs::exists(replaced, ignored)) {
      fs::remove(path / kDoneFile, ignored);
      fs::remove_all(path, ignored);
      fs::rename(replaced, path, ignored);
    }
    fail(ExitCode::kIo, "no checkpoint of step ", step, ": ", error.what(),
         "; older checkpoints are as they were");
  }
}

void Store::clear_up(int64_t step, int64_t keep, bool keep_best,
                     const std::function<void(const std::string&)>& warn) const noexcept {
  try {
    std::vector<Found> found = find_checkpoints(directory_);
    for (Found& one : found) {
      const fs::path path = path_of(one.step);
      if (one.path != path) {  // set aside by a process that was killed
        fs::remove_all(path);
        fs::rename(one.path, path);
        one.path = path;
      }
      if (one.step <= step || !one.is_complete) continue;
      const fs::path name = free_abandoned_name(one.path);
      fs::rename(one.path, name);
      warn(concat("checkpoint of the later step ", one.step, " set aside as ", name.string(),
                  ": training went back to before it"));
    }
    std::erase_if(found, [&](const Found& one) { return one.step > step && one.is_complete; });
    const fs::path best = keep_best ? best_of(found, warn) : fs::path();
    int64_t kept = 0;
    for (const Found& one : found) {
      if (one.is_complete && (++kept <= keep || one.path == best)) continue;
      remove_checkpoint(one.path);
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(directory_)) {
      const std::string name = entry.path().filename().string();
      if (is_temporary(name)) remove_checkpoint(entry.path());
    }
  } catch (const std::exception& error) {
    warn(concat("cannot clear up old checkpoints: ", error.what()));
  }
}

void Store::remove_remains(const std::function<void(const std::string&)>& warn) const noexcept {
  try {
    std::vector<fs::path> remains;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory_)) {
      const std::string name = entry.path().filename().string();
      if ((step_of(name) || is_temporary(name)) && !fs::exists(entry.path() / kDoneFile)) {
        remains.push_back(entry.path());
      }
    }
    for (const fs::path& path : remains) fs::remove_all(path);
  } catch (const std::exception& error) {
    warn(concat("cannot remove what a killed run left: ", error.what()));
  }
}

CheckpointBytes read_checkpoint(const fs::path& path) {
  CheckpointBytes bytes;
  for (const Manifest::File& file : read_manifest(path).files) {
    bytes[file.name] = read_described(path, file);
  }
  return bytes;
}

}  // namespace largo::checkpoint
