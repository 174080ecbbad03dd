// The loss and what evaluation counts.
#pragma once

#include <torch/torch.h>

namespace largo::nn {

// What the samples of a batch should be classified as. With mixup the target of a sample is
// mix * onehot(labels) + (1 - mix) * onehot(partner_labels).
struct Targets {
  torch::Tensor labels;               // [n] int64
  torch::Tensor partner_labels = {};  // [n] int64; not looked at where mix is 1
  double mix = 1;
};

// The sum over samples of the cross entropy against (1 - s) * target + s / classes, where s is
// `label_smoothing`: a scalar of the logits' dtype, float32 for bfloat16 logits. Nothing is divided
// by a number of samples: the trainer divides by the step's. No samples give 0, with a graph.
// logits [n, classes].
torch::Tensor cross_entropy_sum(const torch::Tensor& logits, const Targets& targets,
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

  // The host waits for the values, as nothing else here makes it.
  static EvalSums from(const torch::Tensor& values);
};

}  // namespace largo::nn
