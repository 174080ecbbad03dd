#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/options.h"

namespace largo::comm {
namespace {

TEST(CommOptions, WhatOnlyGpusHaveIsRefusedOnTheCpu) {
  CommOptions options;
  EXPECT_TRUE(check(options, false).empty());
  options.backend = Backend::kMpi;
  EXPECT_TRUE(check(options, false).empty());
  options.dtype = WireType::kBfloat16;
  EXPECT_TRUE(check(options, false).empty());
  options.backend = Backend::kNccl;
  const auto problems = check(options, false);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].key, "comm.backend");
  EXPECT_THAT(problems[0].message, testing::HasSubstr("legal here: auto, mpi"));
  EXPECT_TRUE(check(options, true).empty());
}

}  // namespace
}  // namespace largo::comm
