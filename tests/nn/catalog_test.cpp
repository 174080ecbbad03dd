#include "trainer/nn/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/base/error.h"
#include "comm/self_communicator.h"

namespace largo::nn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CatalogTest : public testing::Test {
 protected:
  CatalogTest() { add_builtin_models(catalog_); }

  std::vector<OptionProblem> check(const std::string& name, NormOptions norm = {},
                                   bool norm_given = false, int64_t side = 32) const {
    return catalog_.check({.options = {.name = name, .norm = norm},
                           .channels = 3,
                           .height = side,
                           .width = side,
                           .classes = 10,
                           .norm_given = norm_given});
  }

  ModelCatalog catalog_;
};

TEST_F(CatalogTest, Names) {
  EXPECT_THAT(catalog_.names(), ElementsAre("mlp", "lenet", "resnet8", "resnet20", "resnet32",
                                            "resnet44", "resnet56", "resnet110"));
  for (const std::string& name : catalog_.names()) EXPECT_THAT(check(name), IsEmpty()) << name;
}

TEST_F(CatalogTest, UnknownName) {
  const auto problems = check("resnt20");
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].key, "model.name");
  EXPECT_THAT(problems[0].message, HasSubstr("\"resnt20\" is not known"));
  EXPECT_THAT(problems[0].message, HasSubstr("mlp, lenet, resnet8"));
  EXPECT_THAT(problems[0].message, HasSubstr("did you mean \"resnet20\"?"));
}

TEST_F(CatalogTest, GroupsThatDoNotDivide) {
  NormOptions norm = {.kind = NormKind::kGroup, .groups = 7};
  auto problems = check("resnet20", norm, true);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].key, "model.norm.groups");
  EXPECT_EQ(problems[0].message,
            "7 groups do not divide the 16 channels of bn1; legal: 1, 2, 4, 8, 16");
  norm.groups = 16;
  EXPECT_THAT(check("resnet20", norm, true), IsEmpty());
  norm.groups = 7;
  norm.kind = NormKind::kBatch;  // groups mean nothing to it
  EXPECT_THAT(check("resnet20", norm, true), IsEmpty());
}

TEST_F(CatalogTest, NormForModelsWithoutAny) {
  for (const std::string name : {"lenet", "mlp"}) {
    const auto problems = check(name, {}, true);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].key, "model.norm.kind");
    EXPECT_THAT(problems[0].message, HasSubstr(name + " has no normalization"));
  }
}

TEST_F(CatalogTest, ImagesTooSmall) {
  EXPECT_THAT(check("lenet", {}, false, 16), IsEmpty());
  const auto problems = check("lenet", {}, false, 15);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].message, HasSubstr("at least 16x16; these are 15x15"));
}

TEST_F(CatalogTest, MakeRefusesWhatCheckRefuses) {
  comm::SelfCommunicator self;
  try {
    catalog_.make({.options = {.name = "lenet", .norm = {}},
                   .channels = 1,
                   .height = 8,
                   .width = 8,
                   .classes = 10},
                  self, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kConfig);
    EXPECT_THAT(error.what(), HasSubstr("model.name: lenet takes images of at least 16x16"));
  }
}

TEST_F(CatalogTest, TakesModelsOfTheUser) {
  struct Flat final : Model {
    torch::Tensor forward(const torch::Tensor& images, const StepContext&) override {
      return images.flatten(1);
    }
  };
  const ModelEntry flat = {.make = [](const ModelSpec&, comm::Communicator&,
                                      uint64_t) { return std::make_shared<Flat>(); },
                           .check = check_no_norm};
  catalog_.add("flat", flat);
  EXPECT_EQ(catalog_.names().back(), "flat");
  comm::SelfCommunicator self;
  const auto model = catalog_.make({.options = {.name = "flat", .norm = {}}}, self, 1);
  EXPECT_EQ(model->forward(torch::zeros({2, 3, 4, 4}), {}).size(1), 48);
  EXPECT_THROW(catalog_.add("flat", flat), Error);
}

}  // namespace
}  // namespace largo::nn
