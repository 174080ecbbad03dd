#include "trainer/checkpoint/weights.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "tests/checkpoint/temporary_folder.h"
#include "trainer/base/atomic_file.h"

namespace largo::checkpoint {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(Weights, ComeBackBitForBitWhateverTheirLayout) {
  const TemporaryFolder folder;
  const at::Tensor image = at::randn({5, 3, 4, 2});
  const NamedTensors tensors = {
      {"conv.weight", image.contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true)},
      {"transposed", at::randn({4, 6}, at::kDouble).t()},
      {"special", at::tensor({0.0, -0.0, INFINITY, std::nan("")}, at::kDouble)},
      {"count", at::full({}, 7, at::kLong)},
      {"bytes", at::arange(9, at::kByte)},
      {"half", at::randn({3}).to(at::kBFloat16)},
      {"empty", at::empty({0, 3})}};
  save_tensors(folder.path() / "w.safetensors", tensors, {{"format", "pt"}});
  const TensorMap loaded = load_tensors(folder.path() / "w.safetensors");
  ASSERT_EQ(loaded.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& back = loaded.at(name);
    EXPECT_EQ(back.sizes(), tensor.sizes()) << name;
    EXPECT_EQ(back.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(back.is_contiguous()) << name;
    const at::Tensor expected = tensor.detach().contiguous();
    if (expected.numel() == 0) continue;
    EXPECT_EQ(std::memcmp(back.data_ptr(), expected.data_ptr(), expected.nbytes()), 0) << name;
  }

  // Into channels_last targets again.
  const at::Tensor target =
      at::zeros_like(image).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_(true);
  copy_into({{"conv.weight", target}}, {{"conv.weight", loaded.at("conv.weight")}}, "w");
  EXPECT_TRUE(at::equal(target, image));
  EXPECT_TRUE(target.is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST(Weights, CopyNamesEverythingThatDoesNotFitAndCopiesNothing) {
  const at::Tensor good = at::zeros({2});
  const NamedTensors targets = {{"good", good},
                                {"fc.bias", at::zeros({10})},
                                {"conv.weight", at::zeros({4, 3})},
                                {"count", at::zeros({}, at::kLong)}};
  const TensorMap loaded = {{"good", at::ones({2})},
                            {"conv.weight", at::ones({4, 1})},
                            {"count", at::ones({}, at::kDouble)},
                            {"old.bias", at::ones({1})}};
  const std::string message =
      error_of(ExitCode::kBadData, [&] { copy_into(targets, loaded, "step-00000500"); });
  EXPECT_THAT(
      message,
      AllOf(HasSubstr("step-00000500 does not fit"), HasSubstr("missing: fc.bias, float [10]"),
            HasSubstr("mismatched: conv.weight is float [4, 1] there and float "
                      "[4, 3] here"),
            HasSubstr("mismatched: count is double [] there and long"),
            HasSubstr("not expected: old.bias, float [1]"), Not(HasSubstr("good"))));
  EXPECT_EQ(good.sum().item<float>(), 0);
}

TEST(Weights, LoadRefusesWhatIsNotAFileOfTensors) {
  const TemporaryFolder folder;
  error_of(ExitCode::kInputMissing, [&] { load_tensors(folder.path() / "none"); });
  write_file_atomically(folder.path() / "text", "weights, honestly");
  EXPECT_THAT(error_of(ExitCode::kBadData, [&] { load_tensors(folder.path() / "text"); }),
              HasSubstr((folder.path() / "text").string()));
}

}  // namespace
}  // namespace largo::checkpoint
