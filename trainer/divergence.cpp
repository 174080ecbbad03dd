#include "trainer/divergence.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "comm/base/error.h"

namespace largo {

namespace {

constexpr size_t kMostNames = 3;

}  // namespace

std::vector<NotFinite> not_finite(const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  std::vector<NotFinite> bad;
  if (tensors.empty()) return bad;
  std::vector<at::Tensor> flags;
  flags.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) flags.push_back(at::isfinite(tensor.detach()).all());
  const at::Tensor finite = at::stack(flags).cpu();  // to the host in one go
  const bool* const values = finite.const_data_ptr<bool>();
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (values[i]) continue;
    const auto& [name, tensor] = tensors[i];
    const auto good = at::isfinite(tensor.detach()).sum().item<int64_t>();
    bad.push_back({.name = name, .values = tensor.numel() - good, .of = tensor.numel()});
  }
  return bad;
}

std::string describe(const std::vector<NotFinite>& tensors) {
  std::string text;
  const size_t shown = std::min(tensors.size(), kMostNames);
  for (size_t i = 0; i < shown; ++i) {
    const NotFinite& bad = tensors[i];
    const bool is_last = i + 1 == tensors.size();
    text += concat(i == 0    ? ""
                   : is_last ? " and "
                             : ", ",
                   bad.name, " (", bad.values == bad.of ? "all " : concat(bad.values, " of "),
                   bad.of, " values)");
  }
  if (shown < tensors.size()) text += concat(" and ", tensors.size() - shown, " more");
  return text;
}

}  // namespace largo
