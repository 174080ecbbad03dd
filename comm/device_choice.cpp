#include "comm/device_choice.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "comm/base/error.h"

namespace largo::comm {

namespace {

constexpr const char* kCpuInstead = "; run.device=cpu trains on the CPU all the same";

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw AgreedError(ExitCode::kUnavailable, concat(parts...));
}

bool sees_gpu(const RankView& rank) {
  return !rank.view.device_file.empty() || !rank.view.gpus.empty();
}

// Why this rank has no GPU to compute on, as the end of a sentence.
std::string why_none(const RankView& rank) {
  const GpuView& view = rank.view;
  if (!view.hidden_by.empty()) return concat("none is visible to it: ", view.hidden_by);
  if (view.driver == 0) {
    return view.device_file.empty()
               ? std::string("there is no GPU, or no NVIDIA driver, on that host")
               : concat("the NVIDIA driver is missing or does not answer, though there is ",
                        view.device_file, " (", view.trouble, ")");
  }
  if (view.driver / 1000 < view.runtime / 1000) {
    return concat("its driver knows CUDA up to ", cuda_version_text(view.driver),
                  " and this build runs on ", cuda_version_text(view.runtime),
                  ": update the driver, or build with a LibTorch for an older CUDA (TORCH_ROOT)");
  }
  return concat("CUDA shows none: ", view.trouble.empty() ? "no device" : view.trouble);
}

void check_every_rank_has_one(const std::vector<RankView>& ranks, DeviceWish wish) {
  const auto seeing = std::find_if(ranks.begin(), ranks.end(), sees_gpu);
  for (size_t r = 0; r < ranks.size(); ++r) {
    const RankView& rank = ranks[r];
    const std::string who = concat("rank ", r, " on ", rank.host);
    if (!rank.view.supported) {
      if (wish == DeviceWish::kCuda) {
        refuse(
            "run.device: cuda needs a build of Largo with CUDA (launch/build cuda); legal in this "
            "one: cpu");
      }
      if (!sees_gpu(rank)) continue;  // another rank's error
      refuse(who, " sees a GPU (", rank.view.device_file,
             ") that this build of Largo cannot use, being without CUDA (launch/build cuda makes "
             "one that can)",
             kCpuInstead);
    }
    if (!rank.view.gpus.empty()) continue;
    if (wish == DeviceWish::kCuda) {
      refuse("run.device: cuda, but ", who, " has no GPU: ", why_none(rank), kCpuInstead);
    }
    const auto other = static_cast<size_t>(seeing - ranks.begin());
    if (other == r) refuse(who, " has a GPU that cannot be used: ", why_none(rank), kCpuInstead);
    refuse("rank ", other, " on ", seeing->host, " sees a GPU, but ", who,
           " has none: ", why_none(rank), kCpuInstead);
  }
}

void check_no_sharing(const std::vector<RankView>& ranks, const std::vector<int>& choice) {
  std::map<std::pair<std::string, std::string>, size_t> owner;  // by host and GPU
  for (size_t r = 0; r < ranks.size(); ++r) {
    const Gpu& gpu = ranks[r].view.gpus[static_cast<size_t>(choice[r])];
    const auto [place, is_new] = owner.emplace(std::pair(ranks[r].host, gpu.uuid), r);
    if (is_new) continue;
    std::set<std::string> gpus_of_host;
    for (const RankView& rank : ranks) {
      if (rank.host != ranks[r].host) continue;
      for (const Gpu& other : rank.view.gpus) gpus_of_host.insert(other.uuid);
    }
    refuse("ranks ", place->second, " and ", r, " would share one GPU, ", gpu.name, " (", gpu.uuid,
           ") on ", ranks[r].host, ", where ", ranks[r].local_size, " ranks see ",
           gpus_of_host.size(), gpus_of_host.size() == 1 ? " GPU" : " GPUs",
           ": start one rank per GPU (under Slurm --gpus-per-node with as many --ntasks-per-node, "
           "never --gpus-per-task), or, to test only, set run.share_gpu: true");
  }
}

}  // namespace

DeviceChoice choose_devices(const std::vector<RankView>& ranks, DeviceWish wish, bool share_gpu) {
  DeviceChoice choice;
  if (wish == DeviceWish::kCpu) return choice;
  if (wish == DeviceWish::kAuto && std::none_of(ranks.begin(), ranks.end(), sees_gpu)) {
    return choice;
  }
  check_every_rank_has_one(ranks, wish);
  std::set<std::string> warned;  // hosts
  for (const RankView& rank : ranks) {
    const auto gpus = static_cast<int>(rank.view.gpus.size());
    choice.gpu.push_back(rank.local_rank % gpus);
    if (gpus >= rank.local_size || !warned.insert(rank.host).second) continue;
    if (gpus > 1) {
      choice.warnings.push_back(
          concat("the ", rank.local_size, " ranks on ", rank.host, " see only ", gpus,
                 " GPUs (CUDA_VISIBLE_DEVICES, or the batch system's share)"));
    } else if (!share_gpu) {
      choice.warnings.push_back(
          concat("the ", rank.local_size, " ranks on ", rank.host,
                 " see one GPU each: where the batch system keeps the others from them by cgroups, "
                 "NCCL cannot use NVLink (under Slurm --gpus-per-node lets every rank see all)"));
    }
  }
  if (!share_gpu) check_no_sharing(ranks, choice.gpu);
  return choice;
}

}  // namespace largo::comm
