#include "trainer/metrics/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace largo::metrics {
namespace {

using nlohmann::json;

TEST(Environment, LibrariesAreFilesThatExist) {
  const auto libraries = loaded_libraries();
  const auto torch = std::find_if(libraries.begin(), libraries.end(), [](const auto& library) {
    return library.name == "libtorch_cpu.so";
  });
  ASSERT_NE(torch, libraries.end());
  for (const auto& library : libraries) {
    EXPECT_TRUE(std::filesystem::path(library.path).is_absolute()) << library.path;
    EXPECT_TRUE(std::filesystem::is_regular_file(library.path)) << library.path;
    EXPECT_THAT(library.name, testing::Not(testing::StartsWith("libc.so")));
  }
}

TEST(Environment, JsonHoldsWhatWasPassedInAndWhatIsThere) {
  ::setenv("OMP_TEST_VARIABLE", "3", 1);
  ::setenv("SLURM_JWT", "secret", 1);
  ::setenv("UNRELATED_PASSPORT", "12", 1);
  const json written = json::parse(to_json({.version = "1.2.3",
                                            .commit = "abcdef",
                                            .build_type = "Release",
                                            .mpi = "Open MPI v4.1.4",
                                            .command_line = {"largo", "train", "x.yaml"},
                                            .flush_denormals = true,
                                            .ranks = {{"node1", "cpu", 4, "malloc tuned", true},
                                                      {"node2", "cpu", 2, "malloc default"}}}));
  EXPECT_EQ(written["largo"]["version"], "1.2.3");
  EXPECT_EQ(written["largo"]["commit"], "abcdef");
  EXPECT_EQ(written["largo"]["build_type"], "Release");
  EXPECT_EQ(written["mpi"], "Open MPI v4.1.4");
  EXPECT_EQ(written["command_line"], (json{"largo", "train", "x.yaml"}));
  EXPECT_EQ(written["ranks"], (json{{{"host", "node1"},
                                     {"device", "cpu"},
                                     {"threads", 4},
                                     {"memory", "malloc tuned"},
                                     {"flush_denormals", true}},
                                    {{"host", "node2"},
                                     {"device", "cpu"},
                                     {"threads", 2},
                                     {"memory", "malloc default"},
                                     {"flush_denormals", false}}}));
  EXPECT_EQ(written["cpu"]["flush_denormals"], true);
  EXPECT_EQ(written["variables"]["OMP_TEST_VARIABLE"], "3");
  EXPECT_FALSE(written["variables"].contains("SLURM_JWT"));
  EXPECT_FALSE(written["variables"].contains("UNRELATED_PASSPORT"));
  EXPECT_THAT(written["libtorch"].get<std::string>(), testing::MatchesRegex("[0-9]+\\.[0-9.]+.*"));
  EXPECT_FALSE(written["cpu"]["capability"].get<std::string>().empty());
  EXPECT_FALSE(written["cpu"]["model"].get<std::string>().empty());
  EXPECT_TRUE(written["libraries"].contains("libc10.so"));
  EXPECT_THAT(written["date"].get<std::string>(), testing::StartsWith("20"));
}

TEST(Environment, AnUnknownCommitIsNull) {
  EXPECT_TRUE(json::parse(to_json({}))["largo"]["commit"].is_null());
}

}  // namespace
}  // namespace largo::metrics
