// The order of sums, seen in sums of words, which show their parentheses.
#include "comm/base/tree_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "comm/base/error.h"

namespace largo::comm {
namespace {

using testing::ElementsAre;
using Words = std::vector<std::string>;

std::string plus(const std::string& a, const std::string& b) { return concat("(", a, b, ")"); }

Words letters(int64_t count) {
  Words words;
  for (int64_t i = 0; i < count; ++i) words.push_back(concat("<", i, ">"));
  return words;
}

// By the definition.
std::string tree_of(Words leaves) {
  while (leaves.size() % 2 == 0) {
    for (size_t i = 0; 2 * i < leaves.size(); ++i)
      leaves[i] = plus(leaves[2 * i], leaves[2 * i + 1]);
    leaves.resize(leaves.size() / 2);
  }
  std::string sum = leaves[0];
  for (size_t i = 1; i < leaves.size(); ++i) sum = plus(sum, leaves[i]);
  return sum;
}

std::string sum_one_by_one(const Words& leaves, size_t& most_waiting) {
  std::map<int, std::string> waiting;
  std::string total;
  const auto count = static_cast<int64_t>(leaves.size());
  for (int64_t leaf = 0; leaf < count; ++leaf) {
    const TreeStep step = tree_step(leaf, count);
    std::string sum = leaves[static_cast<size_t>(leaf)];
    for (int level = 0; level < step.merges; ++level) {
      sum = plus(waiting.at(level), sum);
      waiting.erase(level);
    }
    if (!step.completes_root) {
      EXPECT_EQ(waiting.count(step.merges), 0u) << "a sum that waits is lost";
      waiting[step.merges] = sum;
    } else {
      total = step.is_first_root ? sum : plus(total, sum);
    }
    most_waiting = std::max(most_waiting, waiting.size());
  }
  EXPECT_TRUE(waiting.empty());
  return total;
}

TEST(TreeOrder, OneByOneIsTheTree) {
  for (int64_t count = 1; count <= 100; ++count) {
    size_t most_waiting = 0;
    EXPECT_EQ(sum_one_by_one(letters(count), most_waiting), tree_of(letters(count)));
    EXPECT_LE(most_waiting, static_cast<size_t>(tree_levels(count)));
  }
}

TEST(TreeOrder, OfRanksAndThenOverThemIsTheTree) {
  for (int64_t count = 1; count <= 100; ++count) {
    const std::vector<int64_t> legal = tree_worlds(count);
    EXPECT_TRUE(std::is_sorted(legal.begin(), legal.end()));
    for (int64_t world = 1; world <= count; ++world) {
      if (count % world != 0) continue;
      const Words leaves = letters(count);
      const auto of_rank = static_cast<std::ptrdiff_t>(count / world);
      Words sums;
      for (std::ptrdiff_t rank = 0; rank < world; ++rank) {
        const auto first = leaves.begin() + rank * of_rank;
        sums.push_back(tree_of(Words(first, first + of_rank)));
      }
      const bool is_legal = std::find(legal.begin(), legal.end(), world) != legal.end();
      EXPECT_EQ(tree_of(sums) == tree_of(leaves), is_legal) << count << " on " << world;
    }
  }
}

TEST(TreeOrder, Worlds) {
  EXPECT_THAT(tree_worlds(8), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(tree_worlds(12), ElementsAre(1, 3, 6, 12));
  EXPECT_THAT(tree_worlds(24), ElementsAre(1, 3, 6, 12, 24));
  EXPECT_THAT(tree_worlds(9), ElementsAre(1, 9));
  EXPECT_THAT(tree_worlds(1), ElementsAre(1));
  EXPECT_THROW(tree_worlds(0), Error);
  EXPECT_THROW(tree_step(8, 8), Error);
}

}  // namespace
}  // namespace largo::comm
