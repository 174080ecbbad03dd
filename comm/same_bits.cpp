#include "comm/same_bits.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/agreement.h"
#include "comm/base/error.h"

namespace largo::comm {

namespace {

// Words times odd numbers that tell places apart, summed modulo 2^64: an odd factor keeps every
// single bit, so a changed one changes the sum.
uint64_t hash_of_bytes(const char* bytes, size_t count) {
  constexpr size_t kWord = sizeof(uint64_t);
  uint64_t sum = 0;
  for (size_t i = 0; i < count / kWord; ++i) {
    uint64_t word = 0;
    std::memcpy(&word, bytes + i * kWord, kWord);
    sum += word * (2 * i + 1);
  }
  uint64_t last = 0;
  std::memcpy(&last, bytes + count / kWord * kWord, count % kWord);
  return sum + last * (2 * (count / kWord) + 1);
}

// The same idea in plain tensor operations, by elements.
at::Tensor hash_on_device(const at::Tensor& values) {
  const at::ScalarType as_integers[] = {at::kByte, at::kShort, at::kInt, at::kLong};
  at::ScalarType type = at::kByte;
  for (const at::ScalarType candidate : as_integers) {
    if (static_cast<int64_t>(at::elementSize(candidate)) == values.element_size()) type = candidate;
  }
  const at::Tensor bits = values.view(type).to(at::kLong);
  return (bits * (at::arange(bits.numel(), bits.options()) * 2 + 1)).sum();
}

std::vector<std::string> hosts_of_all(Communicator& world) {
  constexpr int64_t kLongest = 64;
  std::array<char, kLongest> host{};
  gethostname(host.data(), host.size() - 1);
  const at::Tensor of_all =
      world.all_gather(at::from_blob(host.data(), {kLongest}, at::kChar).clone());
  std::vector<std::string> hosts;
  hosts.reserve(static_cast<size_t>(world.size()));
  for (int rank = 0; rank < world.size(); ++rank) {
    const auto* text = static_cast<const char*>(of_all[rank].data_ptr());
    hosts.emplace_back(text, strnlen(text, kLongest));
  }
  return hosts;
}

// "rank 3 (host b)", "ranks 0-2 (hosts a, b)"
std::string name_ranks(const std::vector<int>& ranks, const std::vector<std::string>& hosts) {
  std::vector<std::string> named;
  for (const int rank : ranks) {
    const std::string& host = hosts[static_cast<size_t>(rank)];
    if (std::find(named.begin(), named.end(), host) == named.end()) named.push_back(host);
  }
  std::string list;
  for (const std::string& host : named) list.append(list.empty() ? "" : ", ").append(host);
  return concat(ranks.size() == 1 ? "rank " : "ranks ", number_ranges(ranks), " (",
                named.size() == 1 ? "host " : "hosts ", list, ")");
}

// Ranks by the hash that they have, in the order of the lowest rank.
std::vector<std::vector<int>> group_by_value(const at::Tensor& of_ranks) {
  std::vector<std::pair<int64_t, std::vector<int>>> groups;
  for (int rank = 0; rank < of_ranks.size(0); ++rank) {
    const auto value = of_ranks[rank].item<int64_t>();
    auto group = std::find_if(groups.begin(), groups.end(),
                              [value](const auto& g) { return g.first == value; });
    if (group == groups.end()) group = groups.insert(groups.end(), {value, {}});
    group->second.push_back(rank);
  }
  std::vector<std::vector<int>> ranks;
  ranks.reserve(groups.size());
  for (auto& group : groups) ranks.push_back(std::move(group.second));
  return ranks;
}

std::string describe(const std::vector<std::vector<int>>& groups, int world,
                     const std::string& when, const std::vector<std::string>& hosts) {
  const auto most =
      std::max_element(groups.begin(), groups.end(),
                       [](const auto& a, const auto& b) { return a.size() < b.size(); });
  if (2 * most->size() <= static_cast<size_t>(world)) {
    std::string text = concat(" differs ", when, " between ");
    for (size_t g = 0; g < groups.size(); ++g) {
      text.append(g == 0 ? "" : " and ").append(name_ranks(groups[g], hosts));
    }
    return text + "; no majority says which is right";
  }
  std::vector<int> odd;
  for (auto group = groups.begin(); group != groups.end(); ++group) {
    if (group != most) odd.insert(odd.end(), group->begin(), group->end());
  }
  std::sort(odd.begin(), odd.end());
  return concat(" differs ", when, " on ", name_ranks(odd, hosts), " from ", most->size(),
                " ranks that have the same");
}

}  // namespace

at::Tensor hash_of_bits(const at::Tensor& tensor) {
  const at::NoGradGuard no_grad;
  at::Tensor dense = tensor.detach();
  if (!dense.is_non_overlapping_and_dense()) dense = dense.contiguous();
  if (!dense.is_cpu()) return hash_on_device(dense.contiguous().view({-1}));
  const uint64_t hash =
      hash_of_bytes(static_cast<const char*>(dense.const_data_ptr()), dense.nbytes());
  return at::scalar_tensor(static_cast<int64_t>(hash), at::kLong);
}

void check_same_bits(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                     Communicator& world, const std::string& when) {
  if (world.size() == 1 || tensors.empty()) return;
  std::vector<at::Tensor> hashes;
  hashes.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) hashes.push_back(hash_of_bits(tensor));
  const at::Tensor of_all = world.all_gather(at::stack(hashes).cpu());  // [ranks, tensors]
  const at::Tensor differs = of_all.ne(of_all[0]).any(/*dim=*/0);
  const auto different = differs.sum().item<int64_t>();
  if (different == 0) return;
  const auto first = differs.to(at::kByte).argmax().item<int64_t>();
  const auto groups = group_by_value(of_all.select(1, first));
  const std::string more = different == 1 ? "" : concat(" (and ", different - 1, " more tensors)");
  throw AgreedError(
      ExitCode::kInternal,
      concat("ranks no longer hold the same model: ", tensors[static_cast<size_t>(first)].first,
             more, describe(groups, world.size(), when, hosts_of_all(world))));
}

}  // namespace largo::comm
