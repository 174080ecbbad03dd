#include "trainer/metrics/recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "comm/base/error.h"

namespace largo::metrics {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

const char* word(RunStatus status) {
  switch (status) {
    case RunStatus::kDone:
      return "done";
    case RunStatus::kStopped:
      return "stopped";
    case RunStatus::kFailed:
      return "failed";
  }
  return "failed";
}

// Paths and names may hold any bytes; a record must not fail for that.
std::string text(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  gmtime_r(&now, &parts);
  char buffer[32];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return buffer;
}

[[noreturn]] void fail_io(const std::filesystem::path& path, const char* what) {
  fail(ExitCode::kIo, path.string(), ": ", what, ": ", std::strerror(errno));
}

void write_all(int file, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_io(path, "cannot write");
    bytes.remove_prefix(static_cast<size_t>(written));  // short only where the disk is filling up
  }
}

// Closes on every path out.
class File {
 public:
  File(const std::filesystem::path& path, int flags) : number_(::open(path.c_str(), flags, 0666)) {
    if (number_ < 0) fail_io(path, "cannot open");
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(number_); }
  int number() const { return number_; }

 private:
  int number_;
};

double number_or_nan(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : kNan;
}

}  // namespace

Recorder::Recorder(int rank, std::optional<std::filesystem::path> directory) {
  if (rank != 0 || !directory) return;
  directory_ = std::move(directory);
  read_evals();
  const auto path = *directory_ / "metrics.jsonl";
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) fail_io(path, "cannot open");
  const off_t size = ::lseek(file_, 0, SEEK_END);
  char last = '\n';
  if (size > 0 && ::pread(file_, &last, 1, size - 1) == 1 && last != '\n') append("\n");
}

Recorder::~Recorder() {
  if (file_ >= 0) ::close(file_);
}

// What earlier parts of the run evaluated. Lines that are not ours or torn count for nothing.
void Recorder::read_evals() {
  std::ifstream lines(*directory_ / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object() || !object.contains("event")) continue;
    const double step = number_or_nan(object, "step");
    if (std::isnan(step)) continue;
    if (object["event"] == "resume") forget_after(static_cast<int64_t>(step));
    if (object["event"] == "eval" && object.contains("split") && object["split"].is_string()) {
      const auto at = static_cast<int64_t>(step);
      evals_[object["split"].get<std::string>()][at] = {at, number_or_nan(object, "top1"),
                                                        number_or_nan(object, "top5"),
                                                        number_or_nan(object, "loss")};
    }
  }
}

void Recorder::forget_after(int64_t step) {
  for (auto& [split, by_step] : evals_) by_step.erase(by_step.upper_bound(step), by_step.end());
}

void Recorder::append(const std::string& line) {
  if (file_ >= 0) write_all(file_, line, *directory_ / "metrics.jsonl");
}

void Recorder::start(int world, int64_t global_batch) {
  append(text(Json{{"event", "start"},
                   {"step", 0},
                   {"world", world},
                   {"global_batch", global_batch},
                   {"date", utc_now()}}) +
         "\n");
}

void Recorder::resume(int64_t step, int world, int64_t global_batch,
                      const std::filesystem::path& from) {
  forget_after(step);
  append(text(Json{{"event", "resume"},
                   {"step", step},
                   {"world", world},
                   {"global_batch", global_batch},
                   {"from", from.string()},
                   {"date", utc_now()}}) +
         "\n");
}

void Recorder::train(const TrainRecord& record) {
  Json json = {{"event", "train"},          {"step", record.step},          {"epoch", record.epoch},
               {"samples", record.samples}, {"loss", record.loss},          {"top1", record.top1},
               {"lr", record.lr},           {"grad_norm", record.grad_norm}};
  for (const auto& [name, value] : record.of_lr) json[name] = value;
  if (record.noise_scale) {
    json["noise_scale"] = *record.noise_scale;
    if (record.noise_scale_biased) json["noise_scale_biased"] = true;
  }
  if (record.skipped_steps > 0) json["skipped_steps"] = record.skipped_steps;
  json["samples_per_s"] = record.samples_per_s;
  json["time_s"] = record.time_s;
  append(text(json) + "\n");
}

void Recorder::eval(const EvalRecord& record) {
  if (!directory_) return;
  evals_[record.split][record.step] = {record.step, record.top1, record.top5, record.loss};
  append(text(Json{{"event", "eval"},
                   {"step", record.step},
                   {"epoch", record.epoch},
                   {"split", record.split},
                   {"loss", record.loss},
                   {"top1", record.top1},
                   {"top5", record.top5},
                   {"confidence", record.confidence},
                   {"samples", record.samples},
                   {"time_s", record.time_s}}) +
         "\n");
}

void Recorder::checkpoint(int64_t step, double epoch, const std::filesystem::path& folder,
                          double time_s) {
  append(text(Json{{"event", "checkpoint"},
                   {"step", step},
                   {"epoch", epoch},
                   {"path", folder.string()},
                   {"time_s", time_s}}) +
         "\n");
}

void Recorder::end(RunStatus status, int64_t step, double time_s) {
  append(text(Json{{"event", "end"},
                   {"step", step},
                   {"status", word(status)},
                   {"time_s", time_s},
                   {"date", utc_now()}}) +
         "\n");
}

void Recorder::write_summary(const Summary& summary) {
  if (!directory_) return;
  // The last eval record of a split, and its first one of the highest top-1; null without any.
  const auto scores_of = [this](const std::string& split) {
    const auto& evals = evals_[split];
    if (evals.empty()) return std::pair<Json, Json>();
    const Scores& last = evals.rbegin()->second;
    const Scores* best = &evals.begin()->second;
    for (const auto& [step, scores] : evals) {
      if (scores.top1 > best->top1 || std::isnan(best->top1)) best = &scores;
    }
    return std::pair<Json, Json>{{{"top1", last.top1}, {"top5", last.top5}, {"loss", last.loss}},
                                 {{"top1", best->top1}, {"step", best->step}}};
  };
  const auto [final_scores, best_scores] = scores_of(summary.split);
  const auto [final_average, best_average] = scores_of(summary.split + "_ema");
  const StepTimes& times = summary.step_time;
  Json json = {{"status", word(summary.status)},
               {"name", summary.name},
               {"seed", summary.seed},
               {"steps", summary.steps},
               {"world", summary.world},
               {"global_batch", summary.global_batch},
               {"final", final_scores},
               {"best", best_scores},
               {"time_s", summary.time_s},
               {"samples_per_s", summary.samples_per_s},
               {"step_time",
                {{"data", times.data},
                 {"forward", times.forward},
                 {"backward", times.backward},
                 {"exposed_comm", times.exposed_comm},
                 {"gradient_sums", times.gradient_sums},
                 {"optimizer", times.optimizer},
                 {"logging", times.logging},
                 {"p5", times.p5},
                 {"p50", times.p50},
                 {"p95", times.p95}}},
               {"config_hash", summary.config_hash}};
  if (!final_average.is_null()) {
    json["final_ema"] = final_average;
    json["best_ema"] = best_average;
  }
  if (summary.peak_memory_bytes > 0) json["peak_memory_bytes"] = summary.peak_memory_bytes;
  if (summary.skipped_steps > 0) json["skipped_steps"] = summary.skipped_steps;
  if (summary.skipped_samples > 0) json["skipped_samples"] = summary.skipped_samples;
  write_file("summary.json", text(json, /*indent=*/2) + "\n");
}

std::filesystem::path Recorder::write_file(const std::string& name, std::string_view content) {
  if (!directory_) return {};
  auto path = *directory_ / name;
  auto temporary = path;
  temporary += ".tmp";
  {
    const File file(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
    write_all(file.number(), content, temporary);
    if (::fsync(file.number()) != 0) fail_io(temporary, "cannot write");
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail_io(path, "cannot replace");
  return path;
}

}  // namespace largo::metrics
