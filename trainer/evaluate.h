// Scores of a model on a whole data set.
#pragma once

#include <cstdint>

#include "comm/communicator.h"
#include "trainer/data/device_feed.h"
#include "trainer/nn/model.h"

namespace largo {

// Means over the set; fractions are 0..1.
struct EvalResult {
  int64_t samples = 0;
  double loss = 0;
  double top1 = 0;
  double top5 = 0;
  double confidence = 0;  // mean greatest probability of the samples that are right in top1
};

// Where and how a forward pass is computed.
struct Compute {
  at::Device device = at::kCPU;            // the model's
  at::ScalarType autocast = at::kFloat;    // kBFloat16: convolutions and matrix products in it
  data::ResidentSets* resident = nullptr;  // data sets that live on the device; null: none
};

// A collective: every rank scores its part of the set, every sample exactly once over all ranks,
// and gets the result for the whole. Throws Error{kInternal} if the counts do not add up to the
// set. The model must be in eval mode; `batch` samples go through it at a time. With `skipped`, bad
// samples are replaced and counted there, and too many of them are an error on every rank. With
// `virtual_workers`, which the ranks share out, each scores a part of its own: the result has the
// same bits whatever the ranks.
EvalResult evaluate(nn::Model& model, const data::Dataset& set, const data::Transform& transform,
                    int64_t batch, int64_t workers, comm::Communicator& world,
                    data::SkippedSamples* skipped = nullptr, const Compute& compute = {},
                    int64_t virtual_workers = 0);

}  // namespace largo
