#include "trainer/divergence.h"

#include <ATen/Functions.h>

#include "comm/base/error.h"

namespace largo {

namespace {

constexpr const char* kAdvice =
    "a lower lr.base or a longer warm-up may help. The last checkpoint is kept";

}  // namespace

void check_finite(int64_t completed,
                  const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  if (tensors.empty()) return;
  std::vector<at::Tensor> flags;
  flags.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) flags.push_back(at::isfinite(tensor.detach()).all());
  const at::Tensor finite = at::stack(flags).cpu();  // to the host in one go
  const bool* const values = finite.const_data_ptr<bool>();
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (values[i]) continue;
    throw AgreedError(ExitCode::kNumerical, concat("training diverged: after step ", completed, " ",
                                                   tensors[i].first, " is not finite; ", kAdvice));
  }
}

}  // namespace largo
