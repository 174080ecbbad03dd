// Running statistics taken anew over chosen batches with the weights held fixed ("precise BN").
#pragma once

#include <vector>

#include "comm/communicator.h"
#include "trainer/nn/batch_norm.h"
#include "trainer/nn/model.h"

namespace largo::nn {

// begin(), any number of forward passes in training mode, finish(): the buffers of every batch
// normalization layer are then the mean and unbiased variance of all values that the layer saw
// since begin(), on all ranks together, the variance between batches included: what one process
// finds that sees all batches. The activations are still normalized batch by batch.
// Wu and Johnson 2021, section 3.1, which average the batches' moments; here batches count by their
// samples, and the variance is unbiased as in training.
//
// Ranks may run different numbers of batches, or batches without samples; ranks that normalize
// together must run the same number. No gradients are needed. The model must outlive this object.
class PreciseStatistics {
 public:
  explicit PreciseStatistics(Model& model);

  bool empty() const { return layers_.empty(); }  // whether no layer has running statistics

  // Remembers the buffers; from here to finish() training forwards do not deposit.
  void begin();

  // From here on the forward passes are another virtual worker's, the same number of them on every
  // rank: the moments of each are taken apart and pooled by finish() in the order of ranks and
  // workers, so that the bits do not depend on how workers lie on ranks.
  void next_worker();

  // One collective of the ranks of `world`, after which all have the same bits. A layer that saw no
  // values on any rank keeps its buffers; num_batches_tracked is as before.
  void finish(comm::Communicator& world);

  // Puts back, bit for bit, the buffers that begin() remembered.
  void restore();

 private:
  torch::Tensor collected() const;

  std::vector<BatchNorm*> layers_;
  std::vector<torch::Tensor> remembered_;  // mean and variance of each layer
  std::vector<torch::Tensor> workers_;     // of those before the present one: count, means, …
};

}  // namespace largo::nn
