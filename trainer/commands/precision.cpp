#include "trainer/commands/precision.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "comm/agree.h"
#include "comm/base/error.h"
#include "comm/self_communicator.h"
#include "trainer/checkpoint/store.h"
#include "trainer/config/load.h"
#include "trainer/nn/autocast.h"
#include "trainer/nn/loss.h"
#include "trainer/nn/memory_format.h"

namespace largo::commands {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kMostPixels = int64_t{128} * 32 * 32;  // of a pass, but for the fewest images
constexpr int64_t kFewestImages = 4;
constexpr int kRounds = 3;
constexpr double kEnough_s = 3;  // no further round after so long

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Passes {
 public:
  explicit Passes(const RunInput& run)
      : device_(run.device.device),
        alone_(device_),
        spec_(model_spec(run.config, run.prepared.info)),
        model_(run.catalogs.models.make(spec_, alone_, /*seed=*/1)) {
    model_->to(device_);
    const int64_t pixels = spec_.height * spec_.width;
    const int64_t fit = std::max(kFewestImages, kMostPixels / pixels);
    count_ = std::max<int64_t>(1, std::min(run.prepared.plan.micro_batch(), fit));
    images_ = nn::channels_last(torch::rand({count_, spec_.channels, spec_.height, spec_.width},
                                            torch::TensorOptions(device_)));
    labels_ = torch::zeros({count_}, torch::TensorOptions(device_).dtype(torch::kLong));
    keys_.reserve(static_cast<size_t>(count_));
    for (int64_t i = 0; i < count_; ++i) keys_.push_back({0, i});
  }

  int64_t samples() const { return count_; }

  // Seconds of one.
  double time(Precision precision) {
    const Clock::time_point start = Clock::now();
    const std::vector<int64_t> counts = {count_};
    torch::Tensor logits;
    {
      const nn::Autocast autocast(device_.type(), autocast_of(precision));
      logits = model_->forward(
          images_,
          {.training = true, .samples_per_rank = counts, .step_samples = count_, .keys = keys_});
    }
    nn::cross_entropy_sum(logits, {labels_, {}, 1}, 0).backward();
    // Of what backward comes to last: a device is done then.
    model_->parameters().front().grad().sum().item<double>();
    model_->zero_grad();
    return seconds_since(start);
  }

 private:
  torch::Device device_;
  comm::SelfCommunicator alone_;
  nn::ModelSpec spec_;
  std::shared_ptr<nn::Model> model_;
  int64_t count_ = 0;
  torch::Tensor images_, labels_;
  std::vector<SampleKey> keys_;
};

// In turn, and the least of each, as others may use the machine.
PrecisionProbe probe(const RunInput& run) {
  Passes passes(run);
  const Clock::time_point start = Clock::now();
  passes.time(Precision::kFloat32);  // kernels are made
  passes.time(Precision::kBfloat16);
  PrecisionProbe found = {.samples = passes.samples(), .float32_s = 1e9, .bfloat16_s = 1e9};
  for (int round = 0; round < kRounds && (round == 0 || seconds_since(start) < kEnough_s);
       ++round) {
    found.float32_s = std::min(found.float32_s, passes.time(Precision::kFloat32));
    found.bfloat16_s = std::min(found.bfloat16_s, passes.time(Precision::kBfloat16));
  }
  return found;
}

std::string milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", 1e3 * seconds);
  return text;
}

}  // namespace

std::string to_string(Precision precision) {
  switch (precision) {
    case Precision::kFloat32:
      return "float32";
    case Precision::kBfloat16:
      return "bfloat16";
    case Precision::kFloat64:
      return "float64";
    case Precision::kAuto:
      return "auto";
  }
  return {};
}

Precision precision_to_go_on_with(Precision wish, Precision before) {
  const bool is_a_choice = before == Precision::kFloat32 || before == Precision::kBfloat16;
  return wish == Precision::kAuto && is_a_choice ? before : wish;
}

PrecisionBefore precision_of_checkpoint(const checkpoint::CheckpointOptions& options,
                                        const std::filesystem::path& checkpoints) {
  std::vector<std::filesystem::path> found;
  if (options.resume == "auto") {
    found = checkpoint::Store(checkpoints).complete();
  } else if (options.resume != "never") {
    found = {options.resume};
  }
  for (const std::filesystem::path& path : found) {
    try {
      const auto saved = config::load_config(read_config_file(path / "config.yaml"), {});
      return {saved.values.train.precision, path.string()};
    } catch (const Error&) {
      continue;  // damaged: an older one is gone on from
    }
  }
  return {};
}

void settle_precision(RunInput& run, const comm::MpiSession& session, const PrecisionBefore& before,
                      Log& log) {
  Precision& precision = run.config.values.train.precision;
  if (precision != Precision::kAuto) {
    run.precision = to_string(precision);
    return;
  }
  precision = precision_to_go_on_with(precision, before.precision);
  if (precision != Precision::kAuto) {
    run.precision = to_string(precision) + ", as in " + before.where;
  } else {
    std::string text;
    comm::on_all_ranks(session, [&] {
      const PrecisionProbe found = probe(run);
      text = concat(to_string(found.faster()), ": forward and backward of ", found.samples,
                    " samples take ", milliseconds(found.float32_s), " in float32, ",
                    milliseconds(found.bfloat16_s), " in bfloat16");
    });
    run.precision = session.broadcast(text);  // rank 0's
    precision = run.precision.starts_with("bfloat16") ? Precision::kBfloat16 : Precision::kFloat32;
  }
  log.note("train.precision auto is " + run.precision);
}

}  // namespace largo::commands
