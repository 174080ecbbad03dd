#include "comm/agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace largo::comm {
namespace {

using testing::HasSubstr;

RankFacts rank(const std::string& host, const std::string& seed, const std::string& build = "b1") {
  return {host, {{"build", build, ExitCode::kInternal}, {"run.seed", seed, ExitCode::kConfig}}};
}

TEST(Agreement, OfEqualRanksNothingIsSaid) {
  EXPECT_FALSE(find_disagreement({rank("a", "1")}));
  EXPECT_FALSE(find_disagreement({rank("a", "1"), rank("a", "1"), rank("b", "1")}));
}

TEST(Agreement, NamesRanksHostsAndValues) {
  const auto found = find_disagreement({rank("a", "1"), rank("a", "1"), rank("b", "1"),
                                        rank("b", "1"), rank("c", "2"), rank("c", "1")});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->code, ExitCode::kConfig);
  EXPECT_EQ(found->message,
            "the ranks were not started alike:\n"
            "  run.seed: ranks 0-3, 5 on a, b, c: 1; rank 4 on c: 2");
}

TEST(Agreement, OneRankThatDiffersIsFoundWherever) {
  for (int odd = 0; odd < 5; ++odd) {
    std::vector<RankFacts> ranks(5, rank("a", "1"));
    ranks[odd] = rank("z", "7");
    const auto found = find_disagreement(ranks);
    ASSERT_TRUE(found);
    EXPECT_THAT(found->message, HasSubstr(concat("rank ", odd, " on z: 7")));
  }
}

TEST(Agreement, TheFirstDifferenceGivesTheCodeAndAllAreListed) {
  const auto found = find_disagreement({rank("a", "1", "b1"), rank("b", "2", "b2")});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->code, ExitCode::kInternal);
  EXPECT_THAT(found->message, HasSubstr("build: rank 0 on a: b1; rank 1 on b: b2"));
  EXPECT_THAT(found->message, HasSubstr("run.seed: rank 0 on a: 1; rank 1 on b: 2"));
}

TEST(Agreement, WhatOnlySomeRanksHaveIsAbsentOnOthers) {
  std::vector<RankFacts> ranks = {rank("a", "1"), rank("b", "1")};
  ranks[1].facts.push_back({"libpng.so", "id", ExitCode::kInternal});
  const auto found = find_disagreement(ranks);
  ASSERT_TRUE(found);
  EXPECT_THAT(found->message, HasSubstr("libpng.so: rank 0 on a: absent; rank 1 on b: id"));
}

TEST(Agreement, ManyHostsAndManyDifferencesAreCounted) {
  std::vector<RankFacts> ranks(7);
  for (int r = 0; r < 7; ++r) {
    ranks[r].host = concat("n", r);
    for (int f = 0; f < 20; ++f) {
      ranks[r].facts.push_back({concat("fact ", f), r == 6 ? "x" : "y", ExitCode::kBadData});
    }
  }
  const auto found = find_disagreement(ranks);
  ASSERT_TRUE(found);
  EXPECT_THAT(found->message, HasSubstr("ranks 0-5 on n0, n1, n2, n3 and 2 more hosts: y"));
  EXPECT_THAT(found->message, HasSubstr("fact 11:"));
  EXPECT_THAT(found->message, Not(HasSubstr("fact 12:")));
  EXPECT_THAT(found->message, HasSubstr("and 8 more differences"));
}

TEST(Agreement, NumbersAsRanges) {
  EXPECT_EQ(number_ranges({}), "");
  EXPECT_EQ(number_ranges({3}), "3");
  EXPECT_EQ(number_ranges({0, 1, 4, 6, 7, 8, 20}), "0, 1, 4, 6-8, 20");
}

TEST(Agreement, FactsTravelAsBytes) {
  const std::vector<Fact> facts = {{"a", std::string("x\0y", 3), ExitCode::kConfig},
                                   {"", "", ExitCode::kBadData}};
  const auto back = facts_from_bytes(to_bytes(facts));
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].what, "a");
  EXPECT_EQ(back[0].value, facts[0].value);
  EXPECT_EQ(back[0].code, ExitCode::kConfig);
  EXPECT_EQ(back[1].code, ExitCode::kBadData);
  EXPECT_THROW(facts_from_bytes(to_bytes(facts).substr(0, 6)), Error);
}

}  // namespace
}  // namespace largo::comm
