#include "tests/support/layering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "comm/base/error.h"

namespace largo::test {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = LARGO_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ostringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

std::vector<std::string> files_under(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
    const std::string ending = entry.path().extension().string();
    if (entry.is_regular_file() && (ending == ".h" || ending == ".cpp" || ending == ".cu")) {
      files.push_back(fs::relative(entry.path(), kRoot).string());
    }
  }
  return files;
}

std::string verdict(const std::string& file, const std::string& path) {
  const bool project = path.starts_with("comm/") || path.starts_with("trainer/");
  return layering_violation(file, {path, project}).value_or("");
}

TEST(LayeringRules, RefuseUpwardAndSideways) {
  EXPECT_EQ(verdict("trainer/optim/schedule.h", "trainer/batch_plan.h"),
            "trainer/optim/schedule.h includes trainer/batch_plan.h: "
            "trainer/optim may not look at trainer");
  EXPECT_NE(verdict("trainer/nn/norm.cpp", "trainer/data/loader.h"), "");
  EXPECT_NE(verdict("trainer/nn/deeper/norm.cpp", "trainer/data/loader.h"), "");
  EXPECT_NE(verdict("comm/reducer.cpp", "trainer/base/duration.h"), "");
  EXPECT_NE(verdict("comm/base/log.cpp", "comm/communicator.h"), "");
  EXPECT_NE(verdict("trainer/base/duration.h", "comm/communicator.h"), "");
  EXPECT_NE(verdict("trainer/trainer.cpp", "trainer/config/reader.h"), "");
  EXPECT_NE(verdict("trainer/config/reader.cpp", "trainer/commands/train.h"), "");
  EXPECT_NE(verdict("trainer/commands/train.cpp", "tests/support/spawn_ranks.h"), "");
}

TEST(LayeringRules, AllowDownward) {
  EXPECT_EQ(verdict("trainer/optim/schedule.h", "trainer/optim/options.h"), "");
  EXPECT_EQ(verdict("trainer/nn/norm.cpp", "comm/communicator.h"), "");
  EXPECT_EQ(verdict("trainer/nn/norm.cpp", "comm/base/error.h"), "");
  EXPECT_EQ(verdict("trainer/data/loader.h", "trainer/base/sample_key.h"), "");
  EXPECT_EQ(verdict("trainer/base/duration.h", "comm/base/option_table.h"), "");
  EXPECT_EQ(verdict("trainer/trainer.cpp", "trainer/nn/model.h"), "");
  EXPECT_EQ(verdict("trainer/config/reader.cpp", "trainer/batch_plan.h"), "");
  EXPECT_EQ(verdict("trainer/commands/train.cpp", "trainer/config/reader.h"), "");
  EXPECT_EQ(verdict("trainer/main.cpp", "trainer/commands/train.h"), "");
}

TEST(LayeringRules, KeepThirdPartiesInTheirPlace) {
  EXPECT_EQ(verdict("trainer/config/reader.cpp", "yaml-cpp/yaml.h"), "");
  EXPECT_NE(verdict("trainer/batch_plan.cpp", "yaml-cpp/yaml.h"), "");
  EXPECT_EQ(verdict("comm/mpi_session.cpp", "mpi.h"), "");
  EXPECT_NE(verdict("comm/base/log.cpp", "mpi.h"), "");
  EXPECT_NE(verdict("trainer/commands/train.cpp", "mpi.h"), "");
  EXPECT_EQ(verdict("comm/nccl/nccl_core.h", "cuda_runtime_api.h"), "");
  EXPECT_EQ(verdict("comm/nccl/nccl_communicator.cpp", "c10/cuda/CUDAStream.h"), "");
  for (const char* header : {"nccl.h", "cuda_runtime_api.h", "c10/cuda/CUDAStream.h",
                             "ATen/cuda/CUDAEvent.h", "nvtx3/nvToolsExt.h"}) {
    EXPECT_NE(verdict("trainer/trainer.cpp", header), "") << header;
  }
  EXPECT_EQ(verdict("trainer/main.cpp", "CLI/CLI.hpp"), "");
  EXPECT_NE(verdict("trainer/config/reader.cpp", "CLI/CLI.hpp"), "");
  EXPECT_EQ(verdict("comm/base/cpu.cpp", "sys/stat.h"), "");
  EXPECT_NE(verdict("comm/base/log.cpp", "ATen/core/Tensor.h"), "");
  EXPECT_NE(verdict("trainer/base/files.cpp", "nlohmann/json.hpp"), "");
}

TEST(LayeringRules, KnowEveryFolder) {
  EXPECT_THAT(verdict("trainer/plugins/x.cpp", "vector"), testing::HasSubstr("trainer/plugins"));
  EXPECT_NE(verdict("trainer/trainer.cpp", "trainer/plugins/x.h"), "");
}

TEST(LayeringRules, WantPathsFromTheRoot) {
  EXPECT_THAT(layering_violation("comm/reducer.cpp", {"bucket.h", true}).value_or(""),
              testing::HasSubstr("repository root"));
}

TEST(LayeringRules, FindIncludesInSource) {
  const auto found = find_includes(
      "// #include \"comm/a.h\"\n"
      "#include <vector>\n"
      "  #  include \"comm/b.h\"  // why\n"
      "const char* text = \"#include <c>\";\n");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].path, "vector");
  EXPECT_FALSE(found[0].quoted);
  EXPECT_EQ(found[1].path, "comm/b.h");
  EXPECT_TRUE(found[1].quoted);
}

TEST(LayeringRules, FindPlainSources) {
  const auto found = plain_sources(
      "largo_library(a FOLDER trainer/a PLAIN one.cpp two.cpp LINK b PLAIN_LINK c)\n"
      "largo_library(b FOLDER comm/b PLAIN ${sources}\n  EXCEPT x.cpp)\n"
      "largo_library(c FOLDER comm)\n");
  EXPECT_EQ(found,
            (std::set<std::string>{"trainer/a/one.cpp", "trainer/a/two.cpp", "comm/b/*.cpp"}));
}

TEST(Layering, EveryIncludeLooksDown) {
  int includes = 0;
  for (const char* folder : {"trainer", "comm"}) {
    for (const std::string& file : files_under(folder)) {
      for (const Include& include : find_includes(read(kRoot / file))) {
        ++includes;
        if (const auto wrong = layering_violation(file, include)) ADD_FAILURE() << *wrong;
      }
    }
  }
  EXPECT_GT(includes, 100);  // the sources were found
}

// The chain of includes from a file to LibTorch, "" where there is none.
std::string way_to_torch(const std::string& file, std::map<std::string, std::string>& known) {
  if (const auto found = known.find(file); found != known.end()) return found->second;
  known[file] = "";  // also ends a cycle
  for (const Include& include : find_includes(read(kRoot / file))) {
    std::string rest;
    if (is_torch(include)) rest = include.path;
    if (fs::exists(kRoot / include.path)) rest = way_to_torch(include.path, known);
    if (!rest.empty()) return known[file] = concat(file, " -> ", rest);
  }
  return "";
}

TEST(Layering, PlainSourcesSeeNoTorch) {
  std::map<std::string, std::string> known;
  int sources = 0;
  for (const std::string& entry : plain_sources(read(kRoot / "CMakeLists.txt"))) {
    std::vector<std::string> files = {entry};
    if (entry.ends_with("/*.cpp")) files = files_under(entry.substr(0, entry.size() - 6));
    for (const std::string& file : files) {
      ++sources;
      EXPECT_TRUE(fs::exists(kRoot / file)) << file << " is in CMakeLists.txt only";
      EXPECT_EQ(way_to_torch(file, known), "") << file << " is PLAIN and may not see LibTorch";
    }
  }
  EXPECT_GT(sources, 10);
}

}  // namespace
}  // namespace largo::test
