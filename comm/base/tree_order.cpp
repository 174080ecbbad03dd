#include "comm/base/tree_order.h"

#include <algorithm>
#include <bit>

#include "comm/base/error.h"

namespace largo::comm {

int tree_levels(int64_t leaves) {
  LARGO_CHECK(leaves > 0, leaves, " leaves");
  return std::countr_zero(static_cast<uint64_t>(leaves));
}

TreeStep tree_step(int64_t leaf, int64_t leaves) {
  const int levels = tree_levels(leaves);
  LARGO_CHECK(leaf >= 0 && leaf < leaves, "leaf ", leaf, " of ", leaves);
  const int merges = std::min(std::countr_one(static_cast<uint64_t>(leaf)), levels);
  return {.merges = merges,
          .completes_root = merges == levels,
          .is_first_root = merges == levels && leaf >> levels == 0};
}

std::vector<int64_t> tree_worlds(int64_t leaves) {
  const int levels = tree_levels(leaves);
  std::vector<int64_t> worlds;
  worlds.reserve(static_cast<size_t>(levels) + 2);
  if (leaves >> levels > 1) worlds.push_back(1);
  for (int level = levels; level >= 0; --level) worlds.push_back(leaves >> level);
  return worlds;
}

}  // namespace largo::comm
