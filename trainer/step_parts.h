// What surrounds the parts of a training step.
#pragma once

#include <ATen/record_function.h>

#include "comm/trace_range.h"

namespace largo {

// A stretch of a step, by name, in every profiler.
class Stretch {
 public:
  explicit Stretch(const char* name);

 private:
  comm::TraceRange range_;
  at::RecordFunction record_;
};

// While it lives, backward runs on the calling thread, for GPUs too (else on a thread of autograd's
// own): so all collectives, those inside backward included, are issued from one thread.
class BackwardHere {
 public:
  BackwardHere();
  BackwardHere(const BackwardHere&) = delete;
  BackwardHere& operator=(const BackwardHere&) = delete;
  ~BackwardHere();

 private:
  bool was_;
};

}  // namespace largo
