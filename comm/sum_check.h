// A second opinion on sums over ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"

namespace largo::comm {

// Compares sums over ranks with those that another communicator of the same ranks makes on the
// host, for a few steps: a library or a network that adds wrongly is found before it costs a run.
// Every rank makes the same calls. The host waits for the device in each of them.
class SumCheck {
 public:
  // `host`, which must outlive this object, reduces CPU tensors.
  SumCheck(Communicator& host, int64_t steps) : host_(host), steps_left_(steps) {}

  // This rank's part of the next sum, before it is made.
  void keep(const at::Tensor& part);

  // The sums, in the order of keep(). Returns whether there are more steps to check. An element may
  // be off by what rounding in its dtype explains: (ranks + 2) * epsilon * sum of magnitudes.
  // Throws AgreedError{kUnavailable}, naming bucket, rank and how many values are wrong, on every
  // rank.
  bool compare(std::span<const at::Tensor> sums);

 private:
  Communicator& host_;
  int64_t steps_left_;
  std::vector<at::Tensor> parts_;  // on the host, float64
};

}  // namespace largo::comm
