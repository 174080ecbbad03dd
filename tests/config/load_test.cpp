#include "trainer/config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "comm/base/error.h"
#include "tests/config/config_text.h"

namespace largo::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StrEq;

TEST(LoadConfig, ReadsARunFile) {
  const LoadedConfig config = load_config(
      {"configs/fashion.yaml",
       "run:    {name: fashion_b1024, output: runs, seed: 7, device: cpu, threads: 2}\n"
       "data:   {kind: idx, path: /usr/share/fashion, augment: {pad_crop: 2, flip: true}}\n"
       "model:  {name: resnet20, norm: {kind: sync_batch}, zero_init_residual: true}\n"
       "batch:  {global: 1024, max_micro: 256}\n"
       "optimizer: {kind: sgd, momentum: 0.9, nesterov: true, weight_decay: 5.0e-4}\n"
       "lr:\n"
       "  base: 0.1   # at base_batch\n"
       "  base_batch: 128\n"
       "  scaling: linear\n"
       "  warmup: {kind: gradual, length: 5ep, start: base}\n"
       "  policy: {kind: cosine, end: 0.0}\n"
       "loss:   {label_smoothing: 0.1}\n"
       "train:  {length: 20ep, last_batch: wrap, log_every: 20steps, eval_every: 1ep}\n"
       "comm:   {backend: auto}\n"},
      {"batch.global=2048"});
  const RunConfig& values = config.values;
  EXPECT_EQ(values.run.name, "fashion_b1024");
  EXPECT_EQ(values.run.seed, 7);
  EXPECT_EQ(values.run.device, comm::DeviceWish::kCpu);
  EXPECT_EQ(values.run.threads, 2);
  EXPECT_EQ(values.data.path, "/usr/share/fashion");
  EXPECT_EQ(values.data.augment.pad_crop, 2);
  EXPECT_EQ(values.model.norm.kind, nn::NormKind::kSyncBatch);
  EXPECT_EQ(values.batch.global, 2048);
  EXPECT_EQ(values.optimizer.weight_decay, 5.0e-4);
  EXPECT_EQ(values.lr.warmup.length, (Duration{5, Duration::Unit::kEpochs}));
  EXPECT_EQ(values.lr.policy.kind, optim::PolicyKind::kCosine);
  EXPECT_EQ(values.loss.label_smoothing, 0.1);
  EXPECT_EQ(values.train.last_batch, LastBatch::kWrap);
  EXPECT_EQ(config.provenance.words("lr.base"), "configs/fashion.yaml:7");
  EXPECT_THAT(config.notes, IsEmpty());
}

TEST(LoadConfig, FillsInWhatDependsOnTheOptimizer) {
  const auto load = [](const std::vector<std::string>& overrides) {
    return load_config({"x.yaml", kSmallest}, overrides).values;
  };
  EXPECT_EQ(load({}).lr.scaling, optim::ScalingRule::kLinear);
  EXPECT_EQ(load({}).optimizer.momentum, 0.9);
  EXPECT_EQ(load({"optimizer.kind=lars"}).lr.scaling, optim::ScalingRule::kNone);
  EXPECT_EQ(load({"optimizer.kind=lars", "lr.scaling=linear"}).lr.scaling,
            optim::ScalingRule::kLinear);
  EXPECT_EQ(load({"optimizer.kind=adam", "lr.scaling=sqrt"}).lr.scaling, optim::ScalingRule::kSqrt);
  EXPECT_EQ(load({"optimizer.kind=lamb", "lr.scaling=none"}).optimizer.weight_decay, 0.01);
}

TEST(LoadConfig, NamesTheRunAfterTheFile) {
  EXPECT_EQ(load_config({"a/b/small.test.yaml", kSmallest}, {}).values.run.name, "small.test");
  EXPECT_EQ(load_config({"x.yaml", kSmallest}, {"run.name=y"}).values.run.name, "y");
  try {
    load_config({"my run (1).yaml", kSmallest}, {});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("run.name: is not given, and the file's name will not do: "
                                        "\"my run (1)\" is out of range"));
  }
}

TEST(LoadConfig, RunNamesAreDirectoryNames) {
  for (const std::string name : {"a/b", ".", "..", ".hidden", "-flag", "a b", "\"\"", "x:y", "é"}) {
    EXPECT_THAT(errors_of(concat(kSmallest, "run: {name: ", name, "}\n")), HasSubstr("run.name: "))
        << name;
  }
  for (const std::string name : {"a", "fashion_b1024", "lr=0.1,b=2", "v1.2+x", "007"}) {
    EXPECT_THAT(errors_of(concat(kSmallest, "run: {name: \"", name, "\"}\n")), IsEmpty()) << name;
  }
  EXPECT_THAT(errors_of(kSmallest + "run: {name: " + std::string(201, 'a') + "}\n"),
              HasSubstr("at most 200"));
}

TEST(LoadConfig, ThreadsAreAutoOrANumber) {
  EXPECT_EQ(load_config({"x.yaml", kSmallest}, {"run.threads=auto"}).values.run.threads,
            std::nullopt);
  EXPECT_EQ(load_config({"x.yaml", kSmallest}, {"run.threads=3"}).values.run.threads, 3);
  EXPECT_THAT(errors_of(kSmallest, {"run.threads=many"}),
              HasSubstr("\"many\" is not an integer; legal: auto or integer >= 1"));
}

TEST(LoadConfig, ReportsEverythingAtOnceInOrder) {
  EXPECT_THAT(errors_of("batch: {global: 1.5}\n"
                        "lr: {base: 0.1, base_batch: 64, scaling: none,\n"
                        "     warmup: {kind: gradual, length: 1ep}}\n"
                        "data: {kind: synthetic, kidn: idx}\n"
                        "model: {}\n"
                        "train: {length: 1ep}\n",
                        {"loss.label_smoothing=2"}),
              StrEq("run.yaml:1:17: batch.global: \"1.5\" is not an integer; legal: integer >= 1\n"
                    "  batch: {global: 1.5}\n"
                    "                  ^\n"
                    "run.yaml:3:6: lr.warmup.start: base is the peak itself when lr.scaling is "
                    "none, so nothing would warm up; legal: `start: zero` or a number\n"
                    "       warmup: {kind: gradual, length: 1ep}}\n"
                    "       ^\n"
                    "run.yaml:4:25: data.kidn: unknown key; did you mean kind?\n"
                    "  data: {kind: synthetic, kidn: idx}\n"
                    "                          ^\n"
                    "run.yaml:5:1: model: name is missing: model to train; text\n"
                    "  model: {}\n"
                    "  ^\n"
                    "override 1: loss.label_smoothing=2: \"2\" is out of range; legal: number "
                    "between 0 and 1"));
}

TEST(LoadConfig, HintsAreOfTheKindThatTheCommandLineGives) {
  const std::string sgd = kSmallest + "optimizer: {kind: sgd}\n";
  const std::string scaling = "lr.scaling=none";
  for (const std::vector<std::string>& overrides :
       {std::vector<std::string>{"optimizer.kind=adam", scaling, "optimizer.eps=1e-7"},
        {"optimizer.eps=1e-7", scaling, "optimizer.kind=adam"}}) {
    EXPECT_THAT(errors_of(sgd, overrides),
                HasSubstr("optimizer.eps=1e-7: unknown key; did you mean epsilon?"));
  }
  const std::string legal = errors_of(sgd, {"optimizer.kind=adam", scaling, "optimizer.zzz=1"});
  EXPECT_THAT(legal, HasSubstr("betas"));
  EXPECT_THAT(legal, Not(HasSubstr("nesterov")));
  EXPECT_THAT(errors_of(kSmallest, {"lr.policy=polynomial", "lr.policy.zzz=1"}),
              HasSubstr("legal here: kind, length, power, end"));
}

TEST(LoadConfig, ChecksWhatPrecedesASyntaxError) {
  const std::string errors = errors_of("run: {sead: 1}\nlr: {base: 0.1\ntrain: {length: 1ep}\n");
  EXPECT_THAT(errors, HasSubstr("run.sead: unknown key; did you mean seed?"));
  EXPECT_THAT(errors, HasSubstr("not YAML"));
  EXPECT_THAT(errors, Not(HasSubstr("is missing: ")));
}

TEST(LoadConfig, AMissingKindIsOneProblem) {
  const std::string errors = errors_of(
      "data: {shape: [1, 28, 28]}\nmodel: {name: mlp}\nbatch: {global: 64}\n"
      "lr: {base: 0.1, base_batch: 64}\ntrain: {length: 1ep}\n");
  EXPECT_THAT(errors, HasSubstr("data: kind is missing"));
  EXPECT_THAT(errors, Not(HasSubstr("belongs to")));
}

TEST(LoadConfig, SwitchingAKindOnTheCommandLine) {
  const std::string file =
      "data: {kind: synthetic, shape: [1, 28, 28]}\n"
      "model: {name: resnet20, norm: {kind: group, groups: 4}}\n"
      "batch: {global: 64}\n"
      "lr: {base: 0.1, base_batch: 64, policy: {kind: step, length: 1ep, gamma: 0.5}}\n"
      "train: {length: 1ep}\n";
  const LoadedConfig config =
      load_config({"x.yaml", file}, {"lr.policy.kind=cosine", "model.norm.kind=sync_batch"});
  EXPECT_THAT(
      config.notes,
      ElementsAre("model.norm.kind=sync_batch drops model.norm.groups from the file (line 2)",
                  "lr.policy.kind=cosine drops lr.policy.gamma from the file (line 4)"));
  EXPECT_EQ(config.values.lr.policy.length, (Duration{1, Duration::Unit::kEpochs}));
}

// A kind that belongs to another kind takes its own keys with it.
TEST(LoadConfig, SwitchingAKindDropsTheKindsBelowIt) {
  const std::string file = kSmallest +
                           "optimizer:\n  kind: sgd\n  momentum_schedule:\n    kind: cosine\n"
                           "    end: 0.5\n";
  const LoadedConfig config =
      load_config({"x.yaml", file}, {"optimizer.kind=adagrad", "lr.scaling=none"});
  EXPECT_THAT(config.notes,
              ElementsAre("optimizer.kind=adagrad drops optimizer.momentum_schedule.kind from the "
                          "file (line 9)",
                          "optimizer.momentum_schedule.kind=constant drops "
                          "optimizer.momentum_schedule.end from the file (line 10)"));
  EXPECT_FALSE(optim::is_scheduled(config.values.optimizer.momentum_schedule));
  EXPECT_EQ(config.provenance.words("optimizer.momentum_schedule.kind"), "default");
  EXPECT_THAT(load_config({"x.yaml", file}, {"optimizer.kind=adamw", "lr.scaling=none"}).notes,
              IsEmpty());
}

TEST(LoadConfig, ReadsGroupsAndSchedulesOfTheOptimizer) {
  const auto optimizer =
      load_config(
          {"x.yaml", kSmallest +
                         "optimizer:\n  momentum: 0.95\n"
                         "  momentum_schedule: {kind: one_cycle, middle: 0.85, pct_start: 0.4}\n"
                         "  weight_decay_schedule: {kind: WSD, decay: 2ep}\n"
                         "  groups:\n    - {match: '*.bias', lr_factor: 2, weight_decay: 0}\n"
                         "    - match: fc.*\n"},
          {"optimizer.groups.1.lr_factor=10"})
          .values.optimizer;
  EXPECT_EQ(optimizer.momentum_schedule.policy.kind, optim::PolicyKind::kOneCycle);
  EXPECT_EQ(optimizer.momentum_schedule.middle, 0.85);
  EXPECT_EQ(optimizer.weight_decay_schedule.policy.decay, (Duration{2, Duration::Unit::kEpochs}));
  ASSERT_EQ(optimizer.groups.size(), 2U);
  EXPECT_EQ(optimizer.groups[0].weight_decay, 0);
  EXPECT_EQ(optimizer.groups[1].match, "fc.*");
  EXPECT_EQ(optimizer.groups[1].lr_factor, 10);
  EXPECT_EQ(optimizer.groups[1].weight_decay, std::nullopt);
}

TEST(LoadConfig, NoneForNestedSections) {
  const LoadedConfig config = load_config(
      {"x.yaml",
       "data: {kind: synthetic, augment: none}\nmodel: {name: mlp}\nbatch: {global: 64}\n"
       "lr: {base: 0.1, base_batch: 64, warmup: none}\ntrain: {length: 1ep}\n"},
      {});
  EXPECT_EQ(config.values.lr.warmup.kind, optim::WarmupKind::kNone);
}

TEST(LoadConfig, OneWordForASectionIsItsKind) {
  const LoadedConfig config =
      load_config({"x.yaml", kSmallest}, {"model.norm=none", "data.shuffle=blocks"});
  EXPECT_EQ(config.values.model.norm.kind, nn::NormKind::kNone);
  EXPECT_EQ(config.values.data.shuffle.kind, data::ShuffleKind::kBlocks);
  EXPECT_THAT(errors_of(kSmallest, {"model.norm=no"}),
              HasSubstr("model.norm.kind: \"no\" is not known; legal: batch"));
  EXPECT_THAT(errors_of(kSmallest, {"data.augment=flip"}), HasSubstr("legal: a map of pad_crop"));
}

TEST(LoadConfig, LaterProblemsGetTheirLines) {
  const LoadedConfig config = load_config({"run.yaml", kSmallest}, {"batch.per_rank=64"});
  const ConfigError error = config.error({{"batch.global", "does not fit 2 ranks"},
                                          {"batch.per_rank", "nor this"},
                                          {"eval.batch", "?"}});
  EXPECT_EQ(error.code(), ExitCode::kConfig);
  EXPECT_THAT(error.what(),
              StrEq("run.yaml:1:1: eval.batch: ?\n  data: {kind: synthetic}\n  ^\n"
                    "run.yaml:3:9: batch.global: does not fit 2 ranks\n  batch: {global: 64}\n"
                    "          ^\n"
                    "override 1: batch.per_rank=64: nor this"));
}

TEST(LoadConfig, ReadsVariablesOfTheEnvironmentItIsGiven) {
  const Environment environment = [](const std::string& name) {
    return name == "DATA" ? "/data" : nullptr;
  };
  const std::string file =
      "data: {kind: idx, path: \"${DATA}/x\"}\nmodel: {name: mlp}\nbatch: {global: 64}\n"
      "lr: {base: 0.1, base_batch: 64}\ntrain: {length: 1ep}\n";
  EXPECT_EQ(load_config({"x.yaml", file}, {}, environment).values.data.path, "/data/x");
  EXPECT_THAT(errors_of(file, {"run.output=${SCRATCH}/runs"}, environment),
              HasSubstr("run.output=${SCRATCH}/runs: the environment variable SCRATCH is not set"));
}

}  // namespace
}  // namespace largo::config
