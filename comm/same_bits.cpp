#include "comm/same_bits.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <map>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

// The bits as integers, times odd numbers that tell places apart, summed modulo 2^64: whichever
// single bit changes, the sum does.
at::Tensor hash_of(const at::Tensor& tensor) {
  const at::Tensor values = tensor.detach().contiguous().view({-1});
  const at::ScalarType as_integers[] = {at::kByte, at::kShort, at::kInt, at::kLong};
  at::ScalarType type = at::kByte;
  for (const at::ScalarType candidate : as_integers) {
    if (static_cast<int64_t>(at::elementSize(candidate)) == values.element_size()) type = candidate;
  }
  const at::Tensor bits = values.view(type).to(at::kLong);
  return (bits * (at::arange(bits.numel(), bits.options()) * 2 + 1)).sum();
}

}  // namespace

void check_same_bits(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                     Communicator& world, const std::string& when) {
  if (world.size() == 1 || tensors.empty()) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> hashes;
  for (const auto& [name, tensor] : tensors) hashes.push_back(hash_of(tensor));
  const at::Tensor of_all = world.all_gather(at::stack(hashes).cpu());  // [ranks, tensors]
  for (int64_t t = 0; t < of_all.size(1); ++t) {
    std::map<int64_t, std::vector<int64_t>> ranks_with;
    for (int64_t r = 0; r < of_all.size(0); ++r) {
      ranks_with[of_all[r][t].item<int64_t>()].push_back(r);
    }
    if (ranks_with.size() == 1) continue;
    // The most common value is taken to be right; of equally common ones, the lowest rank's.
    const std::vector<int64_t>* most = nullptr;
    for (const auto& [hash, ranks] : ranks_with) {
      if (most == nullptr || ranks.size() > most->size() ||
          (ranks.size() == most->size() && ranks.front() < most->front())) {
        most = &ranks;
      }
    }
    std::string odd;
    for (const auto& [hash, ranks] : ranks_with) {
      if (&ranks == most) continue;
      for (const int64_t r : ranks) odd += concat(odd.empty() ? "" : ", ", r);
    }
    throw AgreedError(
        ExitCode::kInternal,
        concat("ranks no longer hold the same model: ", tensors[static_cast<size_t>(t)].first,
               " differs ", when, " on rank ", odd, " from rank ", most->front(), "'s"));
  }
}

}  // namespace largo::comm
