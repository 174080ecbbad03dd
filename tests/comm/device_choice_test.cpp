#include "comm/device_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/affinity.h"
#include "comm/base/error.h"

namespace largo::comm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Gpu gpu(const std::string& uuid) {
  return {.name = "NVIDIA H100", .uuid = uuid, .pci_bus = "0000:1b:00.0", .capability = 90};
}

GpuView view_of(const std::vector<std::string>& uuids) {
  GpuView view{.supported = true,
               .device_file = "/dev/nvidia0",
               .hidden_by = {},
               .driver = 13010,
               .runtime = 13000,
               .gpus = {},
               .trouble = {}};
  for (const std::string& uuid : uuids) view.gpus.push_back(gpu(uuid));
  return view;
}

// `nodes` hosts of `per_node` ranks that all see the same GPUs of their host.
std::vector<RankView> cluster(int nodes, int per_node, int gpus) {
  std::vector<RankView> ranks;
  for (int node = 0; node < nodes; ++node) {
    std::vector<std::string> uuids(static_cast<size_t>(gpus));
    for (int g = 0; g < gpus; ++g) uuids[g] = concat("GPU-", node, "-", g);
    for (int r = 0; r < per_node; ++r) {
      ranks.push_back({concat("host", node), r, per_node, view_of(uuids)});
    }
  }
  return ranks;
}

std::string refusal(const std::vector<RankView>& ranks, DeviceWish wish, bool share = false) {
  try {
    choose_devices(ranks, wish, share);
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.code(), ExitCode::kUnavailable);
    return error.what();
  }
  return "was not refused";
}

TEST(DeviceChoice, TakesTheGpuOfTheLocalRank) {
  for (const DeviceWish wish : {DeviceWish::kAuto, DeviceWish::kCuda}) {
    const DeviceChoice choice = choose_devices(cluster(2, 4, 4), wish, false);
    EXPECT_THAT(choice.gpu, ElementsAre(0, 1, 2, 3, 0, 1, 2, 3));
    EXPECT_THAT(choice.warnings, IsEmpty());
  }
  EXPECT_THAT(choose_devices(cluster(2, 2, 2), DeviceWish::kCpu, false).gpu, IsEmpty());
}

TEST(DeviceChoice, OneVisibleGpuIsTakenWhateverTheLocalRank) {
  std::vector<RankView> ranks(3);
  for (int r = 0; r < 3; ++r) ranks[r] = {"host", r, 3, view_of({concat("GPU-", r)})};
  const DeviceChoice choice = choose_devices(ranks, DeviceWish::kAuto, false);
  EXPECT_THAT(choice.gpu, ElementsAre(0, 0, 0));
  EXPECT_THAT(choice.warnings, ElementsAre(HasSubstr("3 ranks on host see one GPU each")));
  EXPECT_THAT(choose_devices(cluster(2, 1, 1), DeviceWish::kAuto, false).warnings, IsEmpty());
  EXPECT_THAT(choose_devices(cluster(1, 2, 1), DeviceWish::kAuto, true).warnings, IsEmpty());
}

TEST(DeviceChoice, AutoIsTheCpuWhereNobodySeesAGpu) {
  std::vector<RankView> ranks = {{"a", 0, 1, {}}, {"b", 0, 1, {}}};
  ranks[1].view.supported = true;
  ranks[1].view.hidden_by = "CUDA_VISIBLE_DEVICES=-1";
  EXPECT_THAT(choose_devices(ranks, DeviceWish::kAuto, false).gpu, IsEmpty());
}

TEST(DeviceChoice, RefusesToShareAGpu) {
  const std::string text = refusal(cluster(2, 3, 2), DeviceWish::kAuto);
  EXPECT_THAT(text, HasSubstr("ranks 0 and 2 would share one GPU, NVIDIA H100 (GPU-0-0) on host0"));
  EXPECT_THAT(text, HasSubstr("3 ranks see 2 GPUs"));
  EXPECT_THAT(text, HasSubstr("run.share_gpu: true"));
  const DeviceChoice choice = choose_devices(cluster(1, 3, 2), DeviceWish::kAuto, true);
  EXPECT_THAT(choice.gpu, ElementsAre(0, 1, 0));
  ASSERT_EQ(choice.warnings.size(), 1u);
  EXPECT_THAT(choice.warnings[0], HasSubstr("the 3 ranks on host0 see only 2 GPUs"));
}

// The same UUID on two hosts is two GPUs only if the hosts differ.
TEST(DeviceChoice, GpusOfTwoHostsAreTwo) {
  std::vector<RankView> ranks = {{"a", 0, 1, view_of({"GPU-x"})}, {"b", 0, 1, view_of({"GPU-x"})}};
  EXPECT_THAT(choose_devices(ranks, DeviceWish::kAuto, false).gpu, ElementsAre(0, 0));
  ranks[1] = {"a", 1, 2, view_of({"GPU-x"})};
  EXPECT_THAT(refusal(ranks, DeviceWish::kAuto), HasSubstr("ranks 0 and 1 would share one GPU"));
}

TEST(DeviceChoice, AGpuThatCannotBeUsedIsNeverPassedOver) {
  // This build has no CUDA.
  std::vector<RankView> ranks = {{"a", 0, 1, {}}, {"b", 0, 1, {}}};
  ranks[1].view.device_file = "/dev/nvidia0";
  EXPECT_THAT(
      refusal(ranks, DeviceWish::kAuto),
      HasSubstr("rank 1 on b sees a GPU (/dev/nvidia0) that this build of Largo cannot use"));
  EXPECT_THAT(refusal(ranks, DeviceWish::kCuda), HasSubstr("needs a build of Largo with CUDA"));

  // The driver is too old.
  ranks = cluster(2, 1, 1);
  ranks[1].view.gpus.clear();
  ranks[1].view.driver = 12040;
  EXPECT_THAT(refusal(ranks, DeviceWish::kAuto),
              testing::AllOf(HasSubstr("but rank 1 on host1 has none"), HasSubstr("up to 12.4"),
                             HasSubstr("runs on 13.0"), HasSubstr("update the driver")));

  // The driver is missing, though the device file is there.
  ranks = cluster(1, 1, 0);
  ranks[0].view.driver = 0;
  ranks[0].view.trouble = "no CUDA-capable device";
  EXPECT_THAT(refusal(ranks, DeviceWish::kAuto),
              testing::AllOf(HasSubstr("rank 0 on host0 has a GPU that cannot be used"),
                             HasSubstr("/dev/nvidia0"), HasSubstr("no CUDA-capable device")));
}

TEST(DeviceChoice, AllRanksComputeOnTheSameKindOfDevice) {
  std::vector<RankView> ranks = cluster(2, 1, 1);
  ranks[0].view.gpus.clear();
  ranks[0].view.device_file.clear();
  ranks[0].view.hidden_by = "CUDA_VISIBLE_DEVICES=";
  EXPECT_THAT(refusal(ranks, DeviceWish::kAuto),
              HasSubstr("rank 1 on host1 sees a GPU, but rank 0 on host0 has none: none is visible "
                        "to it: CUDA_VISIBLE_DEVICES="));
}

TEST(DeviceChoice, WishingForAGpuWhereThereIsNone) {
  std::vector<RankView> ranks = {{"a", 0, 1, {}}};
  ranks[0].view.supported = true;
  EXPECT_THAT(refusal(ranks, DeviceWish::kCuda),
              HasSubstr("run.device: cuda, but rank 0 on a has no GPU: there is no GPU, or no "
                        "NVIDIA driver, on that host; run.device=cpu"));
}

TEST(GpuView, TravelsAsBytes) {
  GpuView view = view_of({"GPU-1", "GPU-2"});
  view.gpus[1].numa_node = 1;
  view.trouble = "two\nlines";
  GpuView back = gpu_view_from_bytes(to_bytes(view));
  EXPECT_EQ(back.trouble, "two lines");
  back.trouble = view.trouble;
  EXPECT_EQ(back, view);
  EXPECT_EQ(gpu_view_from_bytes(to_bytes({})), GpuView{});
  EXPECT_THROW(gpu_view_from_bytes("1\n"), Error);
}

TEST(Affinity, ReadsListsOfCpus) {
  EXPECT_EQ(mask_of_list("0-3,8"), "111100001");
  EXPECT_EQ(mask_of_list("2"), "001");
  for (const char* wrong : {"", "x", "3-1", "1-", "-2", "1,,2", "1-2-3", "99999999999"}) {
    EXPECT_EQ(mask_of_list(wrong), "") << wrong;
  }
}

TEST(Affinity, PrefersTheCpusNearTheGpuWhereTheLauncherBoundNobody) {
  const std::string all = "11111111", near = "00001111";
  EXPECT_EQ(preferred_cpus(all, near, {all, all}), "00001111");
  EXPECT_EQ(preferred_cpus("00111111", near, {"00111111", all}), "00111111");  // ranks are bound
  EXPECT_EQ(preferred_cpus("1111", near, {"1111", "1111"}), "1111");  // none of them is near
  EXPECT_EQ(preferred_cpus(all, "", {all, all}), all);                // nothing known
}

}  // namespace
}  // namespace largo::comm
