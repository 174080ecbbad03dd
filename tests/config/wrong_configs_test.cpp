// tests/cli/wrong_configs/: every file that can be refused without ranks, data and model is, with
// the words that its header expects.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "trainer/config/load.h"

namespace largo::config {
namespace {

struct WrongConfig {
  std::string name;
  std::string bytes;
  std::vector<std::string> expected;
  std::vector<std::string> overrides;
  bool needs_run = false;  // refused once ranks, data or model are known
};

WrongConfig read_wrong_config(const std::filesystem::path& path) {
  std::ostringstream bytes;
  bytes << std::ifstream(path, std::ios::binary).rdbuf();
  WrongConfig config{path.filename().string(), bytes.str(), {}, {}};
  std::istringstream lines(config.bytes);
  for (std::string line; std::getline(lines, line);) {
    const auto take = [&](const std::string& head, std::vector<std::string>& into) {
      if (line.starts_with(head)) into.push_back(line.substr(head.size()));
    };
    take("# expect: ", config.expected);
    take("# override: ", config.overrides);
    if (line.starts_with("# ranks: ") || line.starts_with("# stage: run")) config.needs_run = true;
  }
  return config;
}

std::vector<WrongConfig> read_all() {
  std::vector<WrongConfig> configs;
  for (const auto& entry :
       std::filesystem::directory_iterator(LARGO_SOURCE_DIR "/tests/cli/wrong_configs")) {
    configs.push_back(read_wrong_config(entry.path()));
  }
  std::sort(configs.begin(), configs.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return configs;
}

TEST(WrongConfigs, AreRefusedWithTheRightWords) {
  // A file and its line, or an override.
  const std::regex place("^([^ :]+\\.yaml:[0-9]+:[0-9]+|override [0-9]+): ");
  int refused = 0;
  for (const WrongConfig& config : read_all()) {
    SCOPED_TRACE(config.name);
    ASSERT_FALSE(config.expected.empty());
    if (config.needs_run) continue;
    try {
      load_config({config.name, config.bytes}, config.overrides);
      ADD_FAILURE() << "was taken";
    } catch (const Error& error) {
      ++refused;
      EXPECT_EQ(error.code(), ExitCode::kConfig);
      EXPECT_TRUE(std::regex_search(error.what(), place)) << error.what();
      for (const std::string& text : config.expected) {
        EXPECT_THAT(error.what(), ::testing::HasSubstr(text));
      }
    }
  }
  EXPECT_GE(refused, 150);
}

// What is refused later must not be refused here, or it would prove nothing.
TEST(WrongConfigs, ThatNeedARunLoad) {
  for (const WrongConfig& config : read_all()) {
    if (!config.needs_run) continue;
    EXPECT_NO_THROW(load_config({config.name, config.bytes}, config.overrides)) << config.name;
  }
}

}  // namespace
}  // namespace largo::config
