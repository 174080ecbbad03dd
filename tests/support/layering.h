// The floors of the design as rules that a test can hold every #include against.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace largo::test {

struct Include {
  std::string path;    // as written: "comm/base/log.h", "vector"
  bool quoted = true;  // "…", not <…>
};

// The #include lines of a source text, in order; those in // comments do not count.
std::vector<Include> find_includes(const std::string& source);

// Why `file` (a path from the repository root) may not include that; nothing where it may:
// "trainer/optim/schedule.h includes trainer/batch_plan.h: trainer/optim may not look at trainer".
std::optional<std::string> layering_violation(const std::string& file, const Include& include);

// Whether it is a header of LibTorch.
bool is_torch(const Include& include);

// The sources that the text of a CMakeLists.txt declares PLAIN, from the repository root. A PLAIN
// list given by a variable stands for "FOLDER/*.cpp".
std::set<std::string> plain_sources(const std::string& cmake_lists);

}  // namespace largo::test
