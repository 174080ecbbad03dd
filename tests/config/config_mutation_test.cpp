// Whatever the bytes are, the reader returns a configuration or a ConfigError; what it takes prints
// to text that it takes again, to the same configuration.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/config/config_text.h"
#include "trainer/base/keyed_random.h"
#include "trainer/config/config_print.h"

namespace largo::config {
namespace {

const std::string kFull =
    "run: {name: a, seed: 1, threads: auto}\n"
    "data:\n  kind: synthetic\n  shape: [3, 32, 32]\n  augment: {pad_crop: 2, flip: true}\n"
    "model: {name: resnet20, norm: {kind: group, groups: 4}}\n"
    "batch: {global: 64, max_micro: 16}\n"
    "optimizer:\n  momentum: 0.9\n  nesterov: true\n  weight_decay: 5.0e-4\n"
    "  momentum_schedule: {kind: one_cycle, middle: 0.8}\n"
    "  groups:\n    - {match: '*.bias', lr_factor: 2}\n    - match: fc.*\n      weight_decay: 0.1\n"
    "lr:\n"
    "  base: 0.1  # at base_batch\n"
    "  base_batch: 64\n"
    "  warmup: {kind: gradual, length: 1ep, start: zero}\n"
    "  policy: {kind: multistep, milestones: [2ep, '3ep'], gamma: 0.5}\n"
    "train: {length: 4ep, last_batch: wrap}\n";

const std::vector<std::string> kPieces = {
    "[",       "]",        "{",    "}",      ",",   ":",   ": ",          "- ",    "? ",
    "&a ",     "*a",       "!",    "!!int ", "\"",  "'",   "|",           ">",     "#",
    " ",       "\n",       "\n  ", "\t",     "---", "...", "%YAML 1.2\n", "<<: ",  "~",
    "null",    "\\",       "\\n",  "\r\n",   "0",   "-",   ".nan",        "1e400", "${",
    "${HOME}", "\xc3\xa4", "\xff", "\x04",   "@",   "`",   "lr:"};

std::string mutated(KeyedRandom& random) {
  std::string text = kFull;
  const uint64_t changes = 1 + random.below(3);
  for (uint64_t i = 0; i < changes && !text.empty(); ++i) {
    const size_t at = random.below(text.size());
    switch (random.below(5)) {
      case 0:
        text.insert(at, kPieces[random.below(kPieces.size())]);
        break;
      case 1:
        text.erase(at, 1 + random.below(12));
        break;
      case 2:
        text[at] = static_cast<char>(random.below(256));
        break;
      case 3:
        text.insert(at, text.substr(random.below(text.size()), random.below(80)));
        break;
      default:
        text.resize(at);
        break;
    }
  }
  return text;
}

// Loads, prints and loads again; true where the bytes were taken.
bool try_bytes(const std::string& bytes, const std::vector<std::string>& overrides) {
  LoadedConfig config;
  try {
    config = load_config({"mutated.yaml", bytes}, overrides);
  } catch (const ConfigError& error) {
    EXPECT_FALSE(error.diagnostics().empty());
    return false;
  }
  const std::string printed = print_config(config);
  try {
    EXPECT_EQ(trajectory_differences(config.values, load_config({"b.yaml", printed}, {}).values),
              std::vector<std::string>{});
  } catch (const ConfigError& error) {
    ADD_FAILURE() << bytes << "\nprinted as\n" << printed << "\nwhich is refused: " << error.what();
  }
  return true;
}

TEST(ConfigMutation, AnyBytesAreAConfigurationOrAConfigError) {
  ASSERT_TRUE(try_bytes(kFull, {}));
  int taken = 0;
  for (uint64_t i = 0; i < 4000; ++i) {
    KeyedRandom random(1, Purpose::kShuffle, 0, i);
    taken += try_bytes(mutated(random), {});
  }
  EXPECT_GT(taken, 40) << "too wild to reach what follows the parser";
  EXPECT_LT(taken, 2000) << "too tame";
}

TEST(ConfigMutation, AnyOverrideToo) {
  for (uint64_t i = 0; i < 2000; ++i) {
    KeyedRandom random(1, Purpose::kShuffle, 1, i);
    const std::string text = mutated(random);
    const size_t begin = random.below(std::max<size_t>(text.size(), 1));
    try_bytes(kSmallest, {"lr.policy=" + text.substr(begin, random.below(60))});
    try_bytes(kSmallest, {"optimizer.groups=[{match: " + text.substr(begin, random.below(60))});
    try_bytes(kSmallest,
              {concat('x', text.substr(begin, random.below(20)), '=', text.substr(0, 9))});
  }
}

// One construct repeated a hundred thousand times: anything but linear time is a test timeout.
TEST(ConfigMutation, Repetitions) {
  for (const std::string& piece : kPieces) {
    std::string text;
    while (text.size() < kMaxSourceBytes / 4) text += piece;
    for (const std::string& head : {std::string(), std::string("a: "), std::string("[")}) {
      EXPECT_FALSE(try_bytes(head + text, {})) << piece;
    }
  }
}

}  // namespace
}  // namespace largo::config
