// A recording of chosen steps, operation by operation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "trainer/run_options.h"

namespace largo {

// Records what runs on the host and on GPUs from the beginning of step `range.first` to the end of
// step `range.last` (steps count from 1, as in logs) and writes it as a trace that Chrome
// (chrome://tracing) and Perfetto show. Recording costs time: the steps are slower than others.
class StepProfile {
 public:
  StepProfile(std::optional<StepRange> range, bool with_gpu, std::filesystem::path file);
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;
  ~StepProfile();  // gives up a recording under way

  // `step` is the one that follows.
  void before_step(int64_t step);

  // `step` is the one that ended. Throws Error{kIo} where the trace cannot be written.
  void after_step(int64_t step);

 private:
  std::optional<StepRange> range_;
  bool with_gpu_;
  std::filesystem::path file_;
  bool recording_ = false;
};

}  // namespace largo
