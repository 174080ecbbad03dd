// A YAML text as a plain tree with positions, of the strict subset that Largo's files use: one
// document, maps with scalar keys, lists, scalars. No anchors, aliases, tags, merge keys or
// duplicate keys.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "trainer/config/diagnostic.h"

namespace largo::config {

struct YamlNode {
  // kRefused: something was there, but its problem is reported already.
  enum class Kind { kNull, kScalar, kList, kMap, kRefused };

  Kind kind = Kind::kNull;
  Position at = {};
  std::string text = {};   // scalars
  bool quoted = false;     // scalars in quotes or blocks: YAML takes them for text
  bool block = false;      // lists and maps written without brackets
  bool lost_keys = false;  // maps: a key was refused, so which keys are missing is not known
  std::string key = {};    // what it is the value of, in a map
  Position key_at = {};
  std::vector<YamlNode> items = {};  // of lists and maps, in the file's order; keys are unique
};

struct YamlTree {
  YamlNode root;
  std::vector<Diagnostic> problems;
  bool complete = true;  // false after a syntax error: the root holds what was closed before it
};

inline constexpr size_t kMaxSourceBytes = size_t{1} << 20;
inline constexpr int kMaxDepth = 16;

// Never throws for what the text holds, whatever it is, and takes time linear in its size.
YamlTree parse_yaml(const SourceText& source);

}  // namespace largo::config
