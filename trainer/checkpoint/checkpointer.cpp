#include "trainer/checkpoint/checkpointer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>

#include "comm/base/as_agreed.h"
#include "comm/base/error.h"

namespace largo::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kBroadcastBytes = int64_t{256} << 20;  // at a time: counts of MPI are 32 bits
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kJson = "state.json";
constexpr const char* kConfig = "config.yaml";

// Checked, and with the files that every checkpoint has.
CheckpointBytes read_whole(const fs::path& path) {
  CheckpointBytes files = read_checkpoint(path);
  for (const char* name : {kModel, kOptimizer, kJson, kConfig}) {
    if (!files.contains(name)) {
      fail(ExitCode::kBadData, path.string(), " has no file ", name, " in its manifest");
    }
  }
  return files;
}

}  // namespace

Checkpointer::Checkpointer(const CheckpointOptions& options, fs::path directory,
                           comm::Communicator& comm, Log& log)
    : options_(options), store_(std::move(directory)), comm_(comm), log_(log) {}

Checkpointer::~Checkpointer() { wait_for_writer(); }

void Checkpointer::save(int64_t step, const State& state) {
  const auto start = std::chrono::steady_clock::now();
  const bool waits = writer_ && !writer_->done;
  finish();
  if (waits) {
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - start;
    log_.note(concat("the checkpoint of step ", step, " waited ", waited.count(),
                     " s for the one before to be written"));
  }
  // Copying a GPU's tensors waits for the sums that made them. Where one of those failed, the
  // communicator says so here, and nothing is written.
  on_root([&] {
    model_.take(state.model);
    optimizer_.take(state.optimizer);
    json_ = state.json;
    config_ = state.config;
  });
  is_under_way_ = true;
  if (comm_.rank() != 0) return;
  writer_ = std::make_unique<Writer>();
  writer_->step = step;
  writer_->thread = std::thread([this, writer = writer_.get(), top1 = state.top1] {
    try {
      write(writer->step, top1);
    } catch (...) {
      writer->error = std::current_exception();
    }
    writer->done = true;
  });
}

// On the writer's thread, which has the copies to itself until it is joined.
void Checkpointer::write(int64_t step, std::optional<double> top1) const {
  const EncodedTensors model(model_.tensors(), {{"format", "pt"}});
  const EncodedTensors optimizer(optimizer_.tensors(), {{"format", "pt"}});
  const std::vector<CheckpointFile> files = {{kModel, model.chunks()},
                                             {kOptimizer, optimizer.chunks()},
                                             {kJson, {std::as_bytes(std::span(json_))}},
                                             {kConfig, {std::as_bytes(std::span(config_))}}};
  store_.write(step, top1, files);
  store_.publish(step);
  store_.clear_up(step, options_.keep, options_.keep_best,
                  [&](const std::string& message) { log_.warn(message); });
}

void Checkpointer::finish() {
  if (!is_under_way_) return;
  is_under_way_ = false;
  on_root([&] {
    if (const std::exception_ptr error = join_writer()) std::rethrow_exception(error);
  });
}

std::optional<Checkpointer::Written> Checkpointer::take_written() {
  if (ready_) return std::exchange(ready_, std::nullopt);
  if (!writer_ || writer_->told || !writer_->done || writer_->error) return std::nullopt;
  writer_->told = true;
  return Written{writer_->step, store_.path_of(writer_->step)};
}

void Checkpointer::wait_for_writer() noexcept {
  try {
    if (const std::exception_ptr error = join_writer()) std::rethrow_exception(error);
  } catch (const std::exception& error) {
    log_.error(error.what());
  }
}

// What it failed with, if it did.
std::exception_ptr Checkpointer::join_writer() {
  if (!writer_) return nullptr;
  writer_->thread.join();
  const std::unique_ptr<Writer> joined = std::move(writer_);
  if (!joined->error && !joined->told) {
    ready_ = Written{joined->step, store_.path_of(joined->step)};
  }
  return joined->error;
}

std::optional<LoadedState> Checkpointer::load_newest() {
  CheckpointBytes files;
  fs::path chosen;
  on_root([&] {
    std::string damage;
    const std::vector<fs::path> paths = store_.complete();
    for (const fs::path& path : paths) {
      try {
        files = read_whole(path);
        chosen = path;
      } catch (const UnknownVersion&) {
        throw;
      } catch (const Error& error) {
        if (error.code() != ExitCode::kBadData) throw;
        damage += concat("\n  ", error.what());
        continue;
      }
      break;
    }
    if (chosen.empty() && !paths.empty()) {
      fail(ExitCode::kBadData, "every checkpoint is damaged:", damage,
           "\nStart anew with --fresh (the old directory is kept under another name), or with "
           "checkpoint.resume=never");
    }
    if (!chosen.empty()) {
      store_.remove_remains([&](const std::string& message) { log_.warn(message); });
    }
    if (!damage.empty()) {
      log_.warn(concat("damaged checkpoints are passed over, and training goes on from ",
                       chosen.string(), ':', damage));
    }
  });
  const std::string text = chosen.string();
  const auto characters = std::as_bytes(std::span(text));
  std::vector<std::byte> path(characters.begin(), characters.end());
  broadcast_bytes(path);
  if (path.empty()) return std::nullopt;
  return share(files, std::string(reinterpret_cast<const char*>(path.data()), path.size()));
}

LoadedState Checkpointer::load(const fs::path& path) {
  CheckpointBytes files;
  on_root([&] { files = read_whole(path); });
  return share(files, path);
}

// All ranks parse the same bytes, and so fail alike. `files` are rank 0's.
LoadedState Checkpointer::share(CheckpointBytes& files, const fs::path& path) {
  LoadedState state = {.path = path, .model = {}, .optimizer = {}, .json = {}, .config = {}};
  const auto parse = [&](const char* name) {
    broadcast_bytes(files[name]);
    TensorMap tensors =
        as_agreed([&] { return parse_tensors(files[name], (path / name).string()); });
    files.erase(name);
    return tensors;
  };
  state.model = parse(kModel);
  state.optimizer = parse(kOptimizer);
  const auto text_of = [&](const char* name) {
    const std::vector<std::byte>& bytes = files[name];
    broadcast_bytes(files[name]);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  state.json = text_of(kJson);
  state.config = text_of(kConfig);
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

}  // namespace largo::checkpoint
