#include "trainer/step_profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <exception>
#include <set>
#include <utility>

#include "comm/base/error.h"

namespace largo {

namespace {

using torch::profiler::impl::ActivityType;

}  // namespace

StepProfile::StepProfile(std::optional<StepRange> range, bool with_gpu, std::filesystem::path file)
    : range_(range), with_gpu_(with_gpu), file_(std::move(file)) {}

StepProfile::~StepProfile() {
  if (!recording_) return;
  try {
    torch::autograd::profiler::disableProfiler();
  } catch (const std::exception&) {  // an error is unwinding; its message is the one that counts
  }
}

void StepProfile::before_step(int64_t step) {
  if (!range_ || recording_ || step < range_->first || step > range_->last) return;
  std::set<ActivityType> activities = {ActivityType::CPU};
  if (with_gpu_) activities.insert(ActivityType::CUDA);
  const torch::profiler::impl::ProfilerConfig config(
      torch::profiler::impl::ProfilerState::KINETO, /*report_input_shapes=*/false,
      /*profile_memory=*/false, /*with_stack=*/false, /*with_flops=*/false, /*with_modules=*/false);
  torch::autograd::profiler::prepareProfiler(config, activities);
  // Autograd hands the recording on to the threads that run backward on GPUs.
  torch::autograd::profiler::enableProfiler(config, activities);
  recording_ = true;
}

void StepProfile::after_step(int64_t step) {
  if (!recording_ || step < range_->last) return;
  recording_ = false;
  const auto result = torch::autograd::profiler::disableProfiler();
  result->save(file_.string());
  std::error_code error;
  if (std::filesystem::file_size(file_, error) == 0 || error) {
    fail(ExitCode::kIo, "the profile ", file_.string(), " could not be written");
  }
}

}  // namespace largo
