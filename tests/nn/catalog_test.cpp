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
  EXPECT_THAT(catalog_.names(), ElementsAre("mlp", "lenet", "cnn3", "vgg16", "resnet8", "resnet20",
                                            "resnet32", "resnet44", "resnet56", "resnet110",
                                            "resnet18", "resnet34", "resnet50", "resnet101"));
  for (const std::string& name : catalog_.names()) EXPECT_THAT(check(name), IsEmpty()) << name;
}

TEST_F(CatalogTest, UnknownName) {
  const auto problems = check("resnt20");
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].key, "model.name");
  EXPECT_THAT(problems[0].message, HasSubstr("\"resnt20\" is not known"));
  EXPECT_THAT(problems[0].message, HasSubstr("mlp, lenet, cnn3, vgg16, resnet8"));
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

TEST_F(CatalogTest, GroupsOfAGivenSizeThatDoNotDivide) {
  NormOptions norm = {.kind = NormKind::kGroup, .channels_per_group = 24};
  for (const auto& [name, layer] :
       {std::pair{"resnet50", "64 channels of bn1"},
        std::pair{"vgg16", "64 channels of features.1"}, std::pair{"cnn3", "32 channels of bn1"}}) {
    const auto problems = check(name, norm, true);
    ASSERT_EQ(problems.size(), 1u) << name;
    EXPECT_EQ(problems[0].key, "model.norm.channels_per_group");
    EXPECT_THAT(problems[0].message, HasSubstr(std::string("groups of 24 do not divide the ") +
                                               layer + "; legal: 1, 2"));
  }
  norm.channels_per_group = 32;
  for (const std::string name : {"resnet50", "vgg16", "cnn3"}) {
    EXPECT_THAT(check(name, norm, true), IsEmpty());
  }
  EXPECT_EQ(check("resnet20", norm, true).size(), 1u);  // 16 channels
}

// What divides the first norm's channels divides all others', or building would throw.
TEST_F(CatalogTest, LegalGroupsFitEveryLayer) {
  comm::SelfCommunicator self;
  const auto make = [&](const std::string& name, const NormOptions& norm) {
    catalog_.make({.options = {.name = name, .norm = norm},
                   .channels = 3,
                   .height = 64,
                   .width = 64,
                   .classes = 10,
                   .norm_given = true},
                  self, 1);
  };
  for (const auto& [name, channels] : {std::pair{"cnn3", 32}, std::pair{"resnet8", 16}}) {
    EXPECT_NO_THROW(make(name, {.kind = NormKind::kGroup, .groups = channels}));
    EXPECT_NO_THROW(make(name, {.kind = NormKind::kGroup, .channels_per_group = channels}));
  }
  EXPECT_NO_THROW(make("resnet50", {.kind = NormKind::kGroup, .channels_per_group = 64}));
}

TEST_F(CatalogTest, NormForModelsWithoutAny) {
  for (const std::string name : {"lenet", "mlp"}) {
    const auto problems = check(name, {}, true);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].key, "model.norm.kind");
    EXPECT_THAT(problems[0].message, HasSubstr(name + " has no normalization"));
  }
}

TEST_F(CatalogTest, WeightStandardizationNeedsNorms) {
  const auto problems = [this](const std::string& name, bool norm_given) {
    return catalog_.check({.options = {.name = name, .norm = {}, .weight_standardization = true},
                           .channels = 3,
                           .height = 32,
                           .width = 32,
                           .classes = 10,
                           .norm_given = norm_given});
  };
  for (const std::string name : {"lenet", "mlp", "cnn3"}) {
    ASSERT_EQ(problems(name, false).size(), 1u) << name;
    EXPECT_EQ(problems(name, false)[0].key, "model.weight_standardization");
    EXPECT_THAT(problems(name, false)[0].message, HasSubstr(name));
  }
  EXPECT_THAT(problems("cnn3", true), IsEmpty());
  for (const std::string name : {"vgg16", "resnet8", "resnet50"}) {
    EXPECT_THAT(problems(name, false), IsEmpty()) << name;
  }
}

TEST_F(CatalogTest, ZeroInitNeedsSomethingThatCanStartAtZero) {
  ModelSpec spec = {.options = {.name = "resnet8", .norm = {}, .weight_standardization = true},
                    .channels = 3,
                    .height = 32,
                    .width = 32,
                    .classes = 10};
  spec.options.norm.affine = false;
  const auto problems = catalog_.check(spec);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].key, "model.zero_init_residual");
  spec.options.zero_init_residual = false;
  EXPECT_THAT(catalog_.check(spec), IsEmpty());
  spec.options.zero_init_residual = true;
  spec.options.weight_standardization = false;
  EXPECT_THAT(catalog_.check(spec), IsEmpty());
}

TEST_F(CatalogTest, StemIsForResidualNets) {
  for (const std::string& name : catalog_.names()) {
    const auto problems =
        catalog_.check({.options = {.name = name, .norm = {}, .stem = Stem::kCifar},
                        .channels = 3,
                        .height = 32,
                        .width = 32,
                        .classes = 10});
    if (name.starts_with("resnet")) {
      EXPECT_THAT(problems, IsEmpty()) << name;
    } else {
      ASSERT_EQ(problems.size(), 1u) << name;
      EXPECT_EQ(problems[0].key, "model.stem");
      EXPECT_THAT(problems[0].message, HasSubstr(name));
    }
  }
}

TEST_F(CatalogTest, ImagesTooSmall) {
  for (const auto& [name, side] :
       {std::pair{"lenet", 16}, std::pair{"cnn3", 8}, std::pair{"vgg16", 32}}) {
    EXPECT_THAT(check(name, {}, false, side), IsEmpty()) << name;
    const auto problems = check(name, {}, false, side - 1);
    ASSERT_EQ(problems.size(), 1u) << name;
    EXPECT_EQ(problems[0].key, "model.name");
    const std::string least = std::to_string(side);
    const std::string given = std::to_string(side - 1);
    EXPECT_EQ(problems[0].message, std::string(name) + " takes images of at least " + least + "x" +
                                       least + "; these are " + given + "x" + given);
  }
  const ModelSpec flat = {.options = {.name = "cnn3", .norm = {}},
                          .channels = 3,
                          .height = 40,
                          .width = 7,
                          .classes = 10};
  EXPECT_EQ(catalog_.check(flat).size(), 1u);
}

// Instance norm of one pixel is zero.
TEST_F(CatalogTest, ImagesThatLeaveOnePixelToNormalize) {
  const NormOptions instance = {.kind = NormKind::kInstance};
  const NormOptions single = {.kind = NormKind::kGroup, .channels_per_group = 1};
  for (const NormOptions& norm : {instance, single}) {
    EXPECT_THAT(check("resnet18", norm, true, 33), IsEmpty());
    const auto problems = check("resnet18", norm, true, 32);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].key, "model.norm.kind");
    EXPECT_THAT(problems[0].message, HasSubstr("32x32 images leave one pixel at layer4.0.bn2"));
    EXPECT_THAT(check("resnet8", norm, true, 5), IsEmpty());
    EXPECT_EQ(check("resnet8", norm, true, 4).size(), 1u);
  }
  EXPECT_THAT(check("resnet18", {.kind = NormKind::kLayer}, true, 1), IsEmpty());
  EXPECT_THAT(check("resnet18", {.kind = NormKind::kGroup}, true, 1), IsEmpty());
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
