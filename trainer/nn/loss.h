// The loss and what evaluation counts.
#pragma once

#include <torch/torch.h>

namespace largo::nn {

// The sum over samples of the cross entropy against (1 - s) * onehot(label) + s / classes, where s
// is `label_smoothing`: a scalar of the logits' dtype. Nothing is divided by a number of samples:
// the trainer divides by the step's. No samples give 0, with a graph.
// logits [n, classes], labels [n] int64.
torch::Tensor cross_entropy_sum(const torch::Tensor& logits, const torch::Tensor& labels,
                                double label_smoothing);

// Samples whose label has the greatest logit (the first of equal ones): an int64 scalar.
torch::Tensor top1_count(const torch::Tensor& logits, const torch::Tensor& labels);

// Sums over samples that evaluation is made of; the means are theirs divided by samples.
struct EvalSums {
  double samples = 0;
  double loss = 0;        // cross entropy without smoothing
  double top1 = 0;        // samples whose label has the greatest logit
  double top5 = 0;        // one of the min(5, classes) greatest
  double confidence = 0;  // greatest softmax value, over the samples right in top1

  // The values in the order above: a float64 tensor [5] that can be added over batches and summed
  // over ranks. Of equal logits the first class counts as greater; a sample whose loss is NaN is
  // right in nothing.
  static torch::Tensor of(const torch::Tensor& logits, const torch::Tensor& labels);

  static EvalSums from(const torch::Tensor& values);
};

}  // namespace largo::nn
