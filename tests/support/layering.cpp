#include "tests/support/layering.h"

#include <algorithm>
#include <array>
#include <map>
#include <regex>
#include <sstream>

#include "comm/base/error.h"

namespace largo::test {
namespace {

// Which folders each folder may look at, beside itself. The order of DESIGN's drawing, bottom up.
const std::map<std::string, std::vector<std::string>>& floors() {
  static const std::vector<std::string> base = {"trainer/base", "comm", "comm/base"};
  static const auto above_parts = [](std::vector<std::string> more) {
    more.insert(more.end(), {"trainer/data", "trainer/nn", "trainer/optim", "trainer/metrics",
                             "trainer/checkpoint", "trainer/base", "comm", "comm/base"});
    return more;
  };
  static const std::map<std::string, std::vector<std::string>> drawing = {
      {"comm/base", {}},
      {"comm", {"comm/base"}},
      {"trainer/base", {"comm/base"}},
      {"trainer/data", base},
      {"trainer/nn", base},
      {"trainer/optim", base},
      {"trainer/metrics", base},
      {"trainer/checkpoint", base},
      {"trainer", above_parts({})},
      {"trainer/config", above_parts({"trainer"})},
      {"trainer/study", above_parts({"trainer", "trainer/config"})},
      {"trainer/commands", above_parts({"trainer", "trainer/config", "trainer/study"})},
      {"trainer/main.cpp",
       above_parts({"trainer", "trainer/config", "trainer/study", "trainer/commands"})},
  };
  return drawing;
}

std::string parent(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

// The folder of the drawing that a file belongs to: of comm, also what lies deeper.
// Empty: the drawing does not know it.
std::string floor_of(const std::string& file) {
  if (floors().contains(file)) return file;
  for (std::string folder = parent(file); !folder.empty(); folder = parent(folder)) {
    if (!floors().contains(folder)) continue;
    const bool direct = folder == parent(file);
    return direct || folder != "trainer" ? folder : std::string();
  }
  return {};
}

bool is_project(const Include& include) {
  return include.path.starts_with("comm/") || include.path.starts_with("trainer/") ||
         include.path.starts_with("tests/");
}

// What of third parties only one floor may see.
std::optional<std::string> third_party_violation(const std::string& floor, const Include& include) {
  const std::string& path = include.path;
  const auto only = [&](std::vector<std::string> users) -> std::optional<std::string> {
    if (std::find(users.begin(), users.end(), floor) != users.end()) return std::nullopt;
    return "only " + users.front() + " may look at " + path;
  };
  if (path.starts_with("yaml-cpp/")) return only({"trainer/config"});
  if (path == "mpi.h" || path == "nccl.h") return only({"comm"});
  for (const char* prefix : {"cuda", "nvtx3/", "c10/cuda/", "ATen/cuda/"}) {
    if (path.starts_with(prefix)) return only({"comm"});
  }
  if (path.starts_with("CLI/")) return only({"trainer/commands", "trainer/main.cpp"});
  const bool is_std = path.find('/') == std::string::npos || path.starts_with("sys/") ||
                      path.starts_with("linux/") || path.starts_with("netinet/");
  if (!is_std && (floor == "comm/base" || floor == "trainer/base")) {
    return floor + " may look at the standard library only";
  }
  return std::nullopt;
}

}  // namespace

std::vector<Include> find_includes(const std::string& source) {
  static const std::regex pattern(R"re(^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>))re");
  std::vector<Include> includes;
  std::istringstream lines(source);
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_search(line, match, pattern)) continue;
    const bool quoted = match[1].matched;
    includes.push_back({match[quoted ? 1 : 2].str(), quoted});
  }
  return includes;
}

bool is_torch(const Include& include) {
  for (const char* prefix : {"torch/", "ATen/", "c10/"}) {
    if (include.path.starts_with(prefix)) return true;
  }
  return false;
}

std::optional<std::string> layering_violation(const std::string& file, const Include& include) {
  const std::string head = file + " includes " + include.path + ": ";
  const std::string floor = floor_of(file);
  if (floor.empty()) return head + "the drawing of the floors does not know " + parent(file);
  if (!is_project(include)) {
    if (include.quoted) return head + "include paths start at the repository root";
    const auto wrong = third_party_violation(floor, include);
    return wrong ? std::optional(head + *wrong) : std::nullopt;
  }
  const std::string target = floor_of(include.path);
  if (target.empty()) {
    return head + floor + " may not look at " + parent(include.path);
  }
  if (target == floor) return std::nullopt;
  const auto& allowed = floors().at(floor);
  if (std::find(allowed.begin(), allowed.end(), target) != allowed.end()) return std::nullopt;
  return head + floor + " may not look at " + target;
}

std::set<std::string> plain_sources(const std::string& cmake_lists) {
  static const std::regex call(R"(largo_library\(([^)]*)\))");
  std::set<std::string> sources;
  for (std::sregex_iterator at(cmake_lists.begin(), cmake_lists.end(), call), end; at != end;
       ++at) {
    std::istringstream words((*at)[1].str());
    std::string name, word, folder;
    words >> name;
    bool plain = false;
    while (words >> word) {
      if (word == "FOLDER") {
        words >> folder;
      } else if (word == "PLAIN") {
        plain = true;
      } else if (word == "EXCEPT" || word == "LINK" || word == "PLAIN_LINK") {
        plain = false;
      } else if (plain) {
        sources.insert(folder + "/" + (word.starts_with("${") ? "*.cpp" : word));
      }
    }
  }
  return sources;
}

}  // namespace largo::test
