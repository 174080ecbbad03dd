// Twenty losses of one small run against those in tests/golden. To write them anew after a change
// that is meant to alter training: LARGO_WRITE_GOLDEN=1
// build/release/tests/trainer/golden_losses_test
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <string>

#include "tests/trainer/toy_run.h"

namespace largo::test {
namespace {

TEST(GoldenLosses, ResNet8WithSyncBatch) {
  torch::set_num_threads(1);
  ToyOptions options = {.model = "resnet8",
                        .norm = {.kind = nn::NormKind::kSyncBatch},
                        .steps = 20,
                        .shape = {3, 16, 16}};
  options.batch = {.global = 32};
  const ToyResult result = run_toy_alone(options);
  const std::string file = LARGO_SOURCE_DIR "/tests/golden/losses_resnet8.txt";
  if (std::getenv("LARGO_WRITE_GOLDEN")) {
    std::ofstream out(file);
    for (size_t step = 0; step < result.losses.size(); ++step) {
      out << step << ' ' << std::setprecision(17) << result.losses[step] << '\n';
    }
  }
  std::ifstream in(file);
  size_t step = 0;
  double loss = 0;
  size_t lines = 0;
  while (in >> step >> loss) {
    ASSERT_LT(step, result.losses.size());
    // Float64: other machines differ in the last digits only, and twenty steps magnify them little.
    EXPECT_NEAR(result.losses[step], loss, 1e-6 * loss) << "step " << step;
    ++lines;
  }
  EXPECT_EQ(lines, result.losses.size());
}

}  // namespace
}  // namespace largo::test
